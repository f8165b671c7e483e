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
        name: of the clustering, see `Extract.clustering_name`.
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

    def students_state(self, first: int = 0, epochs: int | None = None) -> Path:
        """State of the training of the students from one on, see `cohorts`.

        Args:
            first: the first of these students.
            epochs: at which it ended, beside the state of a longer training; None for the longest.
        """
        students = f"_{first}" if first else ""
        length = "" if epochs is None else f"_{epochs}ep"
        return self.folder / f"state{students}{length}.pt"

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
    def teacher(self) -> Path:
        """Weights of a synthetic teacher."""
        return self.folder / "teacher.safetensors"

    def aligned_weights(self, network: str) -> Path:
        """Weights of the "reconstruction" or the "teacher" with their units in one order."""
        return self.clustering.folder / f"aligned_{network}.safetensors"

    @property
    def figures(self) -> Path:
        return self.clustering.folder / "figures"
