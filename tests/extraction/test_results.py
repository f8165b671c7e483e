import subprocess
import sys

from isthmus import tables
from isthmus.extraction import results
from isthmus.extraction.plan import ExtractionTree
from isthmus.paths import SOURCES
from isthmus.store import files


def test_the_summary_says_what_was_found_and_left_out():
    layer = {
        "layer": 1, "num_units": 5, "num_student_units": 160, "num_in_no_cluster": 20,
        "num_silent": 7,
    }  # fmt: skip
    result = {"mse": 1e-9, "mse_over_variance": 1e-8, "max_difference": 1e-4}
    result |= {"num_students": 10, "num_solved": 3, "num_converged": 4}
    result |= {"students": {"tolerance": 1e-6}}
    lines = results.summarize_result(result | {"layers": [layer]}).splitlines()
    assert lines == [
        "of 10 students, 3 solved their task (loss at most 1.0e-06), 4 converged (down to min_lr)",
        "layer 1: 5 units",
        "  of the students' 160 units, 20 are in no cluster that was kept (7 of them do nothing)",
        "mean squared error 1.0e-09, 1.0e-08 of the variance; largest difference 1.0e-04",
    ]
    found = {"num_teacher": 6, "num_found": 4, "num_missing": 2, "num_excess": 1}
    found |= {"max_distance_in": 1e-3, "max_distance_out": 2e-3}
    barriers = {"barrier_mse": 1e-5, "barrier_loss": 0.01}
    lines = results.summarize_result(result | barriers | {"layers": [layer | found]}).splitlines()
    assert lines[1] == (
        "layer 1: 5 units; of the teacher's 6: 4 found, 2 missing, 1 in excess; "
        "distances up to 1.0e-03 (in), 2.0e-03 (out)"
    )
    assert lines[-1] == "barrier to the teacher: of that error 1.0e-05, of the loss 1.0e-02 nats"


def test_an_extraction_is_complete_with_its_result_and_its_network(tmp_path):
    tree = ExtractionTree(tmp_path, "0123456789")
    assert not results.is_complete(tree)
    files.write_json(tree.clustering.result, {})
    assert not results.is_complete(tree)
    files.write_bytes(tree.reconstruction, b"")
    assert results.is_complete(tree)


def test_tables_lie_beside_the_students_or_in_the_folder_of_the_clustering(tmp_path):
    tree = ExtractionTree(tmp_path, "0123456789")
    results.write_students(tree, [(0, 1, 0.25, 0.1, True, False)], [(1, 0, 0.5, 0.1, 1e-6)])
    losses = (tmp_path / "losses.csv").read_text()
    assert losses == "epoch,student,loss,lr,tolerance\n1,0,0.5,0.1,1e-06\n"
    results.write_tables(tree, {"clusters": []})
    written = (tmp_path / "clustering_0123456789" / "clusters.csv").read_text()
    assert written == ",".join(results.CLUSTERS) + "\n"


def written_students(tree):
    """Student and epochs of every row of both tables."""
    columns = [("students", ("student", "epochs")), ("losses", ("student", "epoch"))]
    return [tables.read_keys(tree.table(name), keys) for name, keys in columns]


def test_rows_of_students_that_are_further_or_not_requested_stay(tmp_path):
    tree = ExtractionTree(tmp_path, "0123456789")

    def write(epochs):  # by student
        students = [(n, num, 0.5, 0.1, False, False) for n, num in epochs.items()]
        losses = [(k, n, 0.5, 0.1, 1e-6) for n, num in epochs.items() for k in range(1, num + 1)]
        results.write_students(tree, students, losses)

    write({0: 1, 1: 2})
    write({0: 3, 1: 1, 2: 1})
    students, losses = written_students(tree)
    assert students == [("0", "3"), ("1", "2"), ("2", "1")]
    assert losses == [("0", "1"), ("1", "1"), ("2", "1"), ("0", "2"), ("1", "2"), ("0", "3")]
    write({0: 4})
    assert written_students(tree)[0] == [("0", "4"), ("1", "2"), ("2", "1")]


def test_students_that_did_not_learn_are_counted_and_what_may_help_is_named():
    result = {"num_students": 10, "num_solved": 3, "num_converged": 4, "solved": False}
    message = results.unsolved_message(result, 300)
    assert message.startswith("7 of 10 students") and "6 had not converged" in message
    assert "extraction.epochs=300" in message and "extraction.epochs=600" in message
    message = results.unsolved_message(result | {"num_converged": 10}, 300)
    assert "0 had not converged" in message and "extraction.num_students" in message
    assert "600" not in message
    assert results.unsolved_message(result | {"solved": True}, 300) is None


def test_what_a_finished_extraction_needs_imports_no_torch():
    code = "import sys; from isthmus.extraction import options, plan, results; "
    code += "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SOURCES)
