"""Folders and files of an extraction. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path

from isthmus.store.files import Run

STUDENT_TABLES = ("losses", "students")


@dataclass(frozen=True)
class ExtractionTree:
    """The folder of a study, with its trained students, and of one clustering of them.

    Args:
        folder: of the study.
        name: of the clustering, see `naming.clustering_name`.
    """

    folder: Path
    name: str

    @property
    def study(self) -> Run:
        return Run(self.folder)

    @property
    def clustering(self) -> Run:
        return Run(self.folder / f"clustering_{self.name}")

    def table(self, name: str) -> Path:
        """The file of a table: beside the students, or of the clustering."""
        folder = self.folder if name in STUDENT_TABLES else self.clustering.folder
        return folder / f"{name}.csv"

    @property
    def students_state(self) -> Path:
        """State of the training of the students."""
        return self.folder / "state.pt"

    def layer_state(self, number: int) -> Path:
        """State of the training of the students from a layer on."""
        return self.clustering.folder / f"layer_{number}.pt"

    @property
    def finetuning_state(self) -> Path:
        """State of the finetuning of the reconstruction."""
        return self.clustering.folder / "finetune.pt"

    @property
    def reconstruction(self) -> Path:
        """Weights of the reconstruction."""
        return self.clustering.folder / "reconstruction.safetensors"

    @property
    def figures(self) -> Path:
        return self.clustering.folder / "figures"
