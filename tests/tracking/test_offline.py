"""MLflow fails: a run goes on to its end, and nothing of it is lost, sent twice, or torn apart."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from rangefinder.captures.manifest import write_captures
from rangefinder.commands import main
from rangefinder.config import TrackingParams
from rangefinder.errors import ModelError
from rangefinder.models.model_files import load_model
from rangefinder.tracking.recorder import Recorder
from rangefinder.tracking.runs import TrackedRun, epoch_logger
from rangefinder.tracking.spool import Spool
from rangefinder.tracking.store import Store
from rangefinder.tracking.sync import send

from ..conftest import PATIENCE_S, clean_environment, program_environment
from ..tiny_camera import CAMERA, make_capture, make_model
from .test_recorder import NAMES, summary

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def without_settings(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    photos = [make_capture(role="unlabelled", seed=seed) for seed in range(2)]
    return write_captures(tmp_path_factory.mktemp("captures") / "captures", CAMERA, photos)


def store_at(folder, uri=None, **more):
    return Store.of(folder, TrackingParams(uri=uri, timeout_s=1, retries=0, **more))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def begin(store):
    run = TrackedRun.start(store, "rangefinder", "a run", {"env": "test"})
    run.log_params({"camera": {"name": "x", "width_px": 480}, "seed": 0})
    run.log_text("environment.json", "{}")
    return Recorder(run, {"git.change": "clean"}, is_whole=True)


def go_on(record, captures, tmp_path):
    """What a training does from its captures to its report."""
    record.captures(captures, "data/captures")
    for epoch in range(3):
        epoch_logger("student").log_metrics({"loss": 3.0 - epoch}, step=epoch)
    for kind, name in NAMES.items():
        record.trained(make_model(kind, seed=5), name)
    record.scores(summary(constant=0.3, teacher=0.2, student=0.1), "data/captures")
    record.headline({"teacher": 0.2, "student": 0.1}, {"seed": 0})
    (tmp_path / "figures").mkdir(exist_ok=True)
    (tmp_path / "figures/a.png").write_bytes(b"png")
    record.run.log_files(tmp_path / "figures")
    record.node("train", 2.0, None)
    record.run.end("FINISHED")


def left_in(client):
    """All that is in MLflow but ids and times."""
    (experiment,) = client.search_experiments(filter_string="name = 'rangefinder'")
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    names = {run.info.run_id: run.info.run_name for run in runs}
    every = []
    for run in runs:
        tags = {k: v for k, v in run.data.tags.items() if k not in ("rangefinder.key",)}
        tags["mlflow.parentRunId"] = names.get(tags.get("mlflow.parentRunId"))
        curve = client.get_metric_history(run.info.run_id, "student/loss")
        files = [each.path for each in client.list_artifacts(run.info.run_id)]
        files += [each.path for each in client.list_artifacts(run.info.run_id, "figures")]
        inputs = [one.dataset.to_dictionary() for one in run.inputs.dataset_inputs]
        models = len(run.inputs.model_inputs), len(run.outputs.model_outputs)
        points = sorted((point.step, point.value) for point in curve)
        content = (run.info.run_name, run.info.status, run.data.params, run.data.metrics, tags)
        every.append((*content, points, sorted(files), inputs, models))
    return sorted(every, key=str), {name: versions_of(client, name) for name in NAMES.values()}


def versions_of(client, name):
    found = []
    for version in client.search_model_versions(f"name = '{name}'"):
        logged = client.get_logged_model(version.source.rpartition("/")[2])
        metrics = {metric.key: metric.value for metric in logged.metrics or ()}
        aliases = {k: str(v) for k, v in client.get_registered_model(name).aliases.items()}
        run = client.get_run(version.run_id).info.run_name
        found.append(
            (str(version.version), version.tags, version.description, metrics, aliases, run)
        )
    return found


@pytest.fixture(scope="module")
def undisturbed(captures, tmp_path_factory):
    """What a run leaves to which nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
            patch.delenv(name, raising=False)
        store = store_at(folder)
        go_on(begin(store), captures, folder)
        return left_in(store.client())


def warnings_of(caplog):
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.slow
@pytest.mark.faults
def test_a_server_that_is_dead_from_the_start_costs_one_warning_and_nothing_else(
    captures, undisturbed, tmp_path, caplog, survived
):
    dead = store_at(tmp_path, f"http://user:{SECRET}@127.0.0.1:{free_port()}")
    record = begin(dead)
    assert record.run.is_offline
    go_on(record, captures, tmp_path)
    (warning,) = warnings_of(caplog)
    assert "http://***@127.0.0.1" in warning.getMessage()
    assert "rangefinder sync" in warning.getMessage()
    assert SECRET not in caplog.text
    kept = b"".join(path.read_bytes() for path in dead.unsent.rglob("*") if path.is_file())
    assert kept
    assert SECRET.encode() not in kept
    with pytest.raises(ModelError, match="has failed in this run"):
        _ = record.run.client
    store = store_at(tmp_path)
    assert send(store).runs == ["a run"]
    assert left_in(store.client()) == undisturbed
    assert list(dead.unsent.glob("*/")) == []
    survived("MLflow: dead server", 1)


@contextmanager
def locked(path):
    """Another process holds a database exclusively."""
    code = (
        "import sqlite3, sys\n"
        f"database = sqlite3.connect({str(path)!r})\n"
        "database.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        assert process.stdout.readline() == b"locked\n"
        yield
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.faults
def test_a_database_that_is_locked_in_the_middle_gets_the_rest_before_the_next_run(
    captures, undisturbed, tmp_path, caplog, survived
):
    store = store_at(tmp_path)
    record = begin(store)
    with locked(tmp_path / "mlflow.db"):
        go_on(record, captures, tmp_path)
        assert len(warnings_of(caplog)) == 1
        assert "database is locked" in caplog.text
    assert store.client().get_run(record.run._mlflow.run_id).info.status == "RUNNING"
    following = TrackedRun.start(store, "other", "next", {})
    following.end("FINISHED")
    assert not following.is_offline
    assert left_in(store.client()) == undisturbed
    assert list(store.unsent.glob("*/")) == []
    survived("MLflow: database locked in the middle of a run", 1)


@pytest.mark.fault_injection
def test_a_database_that_is_locked_from_the_start_is_not_waited_for(
    tmp_path, caplog, monkeypatch, survived
):
    store = store_at(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    TrackedRun.start(store, "rangefinder", "first", {}).end("FINISHED")
    with locked(tmp_path / "mlflow.db"):
        second = TrackedRun.start(store, "rangefinder", "second", {})
        second.watch_system()
        second.end("FAILED")
        assert "database is locked" in send(store).unreachable
    assert len(warnings_of(caplog)) == 1
    assert send(store).runs == ["second"]
    runs = store.client().search_runs(["1"])
    statuses = {run.info.run_name: run.info.status for run in runs}
    assert statuses == {"first": "FINISHED", "second": "FAILED"}
    assert all(run.info.start_time <= run.info.end_time for run in runs)
    assert "system/cpu_utilization_percentage" in runs[0].data.metrics
    assert list(Path().iterdir()) == []
    survived("MLflow: database locked from the start", 1)


@pytest.mark.faults
def test_a_database_whose_making_was_killed_is_made_again(tmp_path, survived):
    code = (
        "from pathlib import Path\n"
        "from rangefinder.config import TrackingParams\n"
        "from rangefinder.tracking.store import Store\n"
        f"Store.of(Path({str(tmp_path)!r}), TrackingParams()).client()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=program_environment()) as process:
        while not any(path.stat().st_size > 100_000 for path in tmp_path.glob(".mlflow.db.*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not (tmp_path / "mlflow.db").exists()
    TrackedRun.start(store_at(tmp_path), "other", "next", {}).end("FINISHED")
    (run,) = store_at(tmp_path).client().search_runs(["1"])
    assert run.info.status == "FINISHED"
    survived("MLflow: killed while its database was made", 1)


@pytest.mark.slow
@pytest.mark.faults
def test_what_is_sent_twice_is_there_once_and_a_stop_in_the_middle_loses_nothing(
    captures, undisturbed, tmp_path, survived
):
    go_on(begin(store_at(tmp_path, f"http://127.0.0.1:{free_port()}")), captures, tmp_path)
    store = store_at(tmp_path)
    assert "no more time" in send(store, seconds=0).left["a run"]
    # As if the machine stopped, at every operation, after it was done and before that was noted.
    (folder,) = store.unsent.glob("*/")
    shutil.copytree(folder, tmp_path / "copy")
    send(store)
    shutil.copytree(tmp_path / "copy", folder)
    assert send(store).runs == ["a run"]
    assert left_in(store.client()) == undisturbed
    survived("MLflow: sending stopped at any place", 1)


def test_what_a_killed_process_left_is_sent_as_killed(tmp_path):
    port = free_port()
    code = (
        "import os, signal; from pathlib import Path\n"
        "from rangefinder.config import TrackingParams\n"
        "from rangefinder.tracking.runs import TrackedRun\n"
        "from rangefinder.tracking.store import Store\n"
        f"params = TrackingParams(uri='http://127.0.0.1:{port}', timeout_s=1, retries=0)\n"
        f"store = Store.of(Path({str(tmp_path)!r}), params)\n"
        "run = TrackedRun.start(store, 'rangefinder', 'killed', {})\n"
        "run.log_metrics({'loss': 1.0})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = store_at(tmp_path)
    assert send(store).runs == ["killed"]
    (run,) = store.client().search_runs(["1"])
    assert (run.info.status, run.data.metrics) == ("KILLED", {"loss": 1.0})


def test_a_run_that_goes_on_or_is_of_another_host_is_not_sent(tmp_path, monkeypatch):
    run = TrackedRun.start(store_at(tmp_path, f"http://127.0.0.1:{free_port()}"), "x", "on", {})
    store = store_at(tmp_path)
    assert "still going on" in send(store).left["on"]
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    assert "another host" in send(store).left["on"]
    monkeypatch.undo()
    run.end("FINISHED")
    assert send(store).runs == ["on"]


def test_a_finished_run_stays_finished_if_sending_stops_before_it_is_forgotten(
    tmp_path, monkeypatch
):
    run = TrackedRun.start(store_at(tmp_path, f"http://127.0.0.1:{free_port()}"), "x", "done", {})
    run.log_metrics({"loss": 1.0})
    run.end("FINISHED")
    store = store_at(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "remove", _read_only)
        assert "done" in send(store).left
    assert send(store).runs == ["done"]
    (sent,) = store.client().search_runs(["1"])
    assert (sent.info.status, sent.data.metrics) == ("FINISHED", {"loss": 1.0})
    assert send(store).runs == []


def _read_only(spool):
    raise OSError(errno.EROFS, "read-only", str(spool.folder))


def test_the_command_sends_and_says_what_is_left(project, tmp_path, monkeypatch):
    monkeypatch.chdir(project.folder)
    address = f"http://user:{SECRET}@127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    (project.folder / "conf/local/tracking.yml").write_text("{timeout_s: 1, retries: 0}")
    assert "missed nothing" in CliRunner().invoke(main, ["sync"]).output
    TrackedRun.start(store_at(project.folder, address), "rangefinder", "it", {}).end("FINISHED")
    failed = CliRunner().invoke(main, ["sync"])
    assert failed.exit_code == 1
    assert "Left: it" in failed.output
    assert "does not respond" in failed.output
    assert SECRET not in failed.output
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    done = CliRunner().invoke(main, ["sync"])
    assert (done.exit_code, done.output) == (0, "Sent: it\n")


@contextmanager
def server(folder, port):
    """MLflow's own, with its database in a folder; it is killed at the end."""
    database = f"sqlite:///{folder / 'server.db'}"
    command = ["mlflow", "server", "--backend-store-uri", database, "--port", str(port)]
    command += ["--artifacts-destination", str(folder / "kept"), "--workers", "1"]
    environment = clean_environment() | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not answers(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield process
    finally:
        kill(process)


def kill(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=PATIENCE_S)


def answers(port):
    try:
        return urlopen(f"http://127.0.0.1:{port}/health", timeout=1).status == 200
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.faults
def test_a_server_that_is_killed_in_the_middle_gets_the_rest_when_it_is_back(
    captures, undisturbed, tmp_path, caplog, capfd, survived
):
    port = free_port()
    store = Store.of(
        tmp_path,
        TrackingParams(
            uri=f"http://user:{SECRET}@127.0.0.1:{port}",
            artifacts="mlflow-artifacts:/",
            timeout_s=10,
            retries=0,
        ),
    )
    with server(tmp_path, port) as process:
        record = begin(store)
        record.captures(captures, "data/captures")
        record.trained(make_model("teacher", seed=5), NAMES["teacher"])
        assert not record.run.is_offline
        kill(process)
        go_on(record, captures, tmp_path)
    assert len(warnings_of(caplog)) == 1
    assert SECRET not in caplog.text
    with server(tmp_path, port):
        assert send(store).runs == ["a run"]
        runs, versions = left_in(store.client())
    assert runs == undisturbed[0]
    assert versions == undisturbed[1]
    assert SECRET not in "".join(capfd.readouterr())
    survived("MLflow: server killed in the middle of a run", 1)


@pytest.mark.slow
@pytest.mark.faults
def test_a_training_whose_server_is_killed_ends_with_its_models(project, tmp_path, survived):
    port = free_port()
    variables = {"MLFLOW_TRACKING_URI": f"http://user:{SECRET}@127.0.0.1:{port}"}
    command = ["kedro", "run", "--pipeline", "distill", "--env", "smoke"]
    options = {"cwd": project.folder, "env": clean_environment() | variables, "text": True}
    with server(tmp_path, port) as process:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, **options, **pipes) as training:
            while not (project.folder / "data/06_models/teacher/card.json").is_file():
                assert training.poll() is None
                time.sleep(0.1)
            kill(process)
            output, _ = training.communicate()
    assert training.returncode == 0, output
    assert output.count("has failed (") == 1
    assert SECRET not in output
    student = load_model(project.folder / "data/06_models/student")
    with server(tmp_path, port):
        sync = ("python", "-c", "from rangefinder.commands import main; main()", "sync")
        assert project.run(*sync, "--env", "smoke", **variables).stdout.startswith("Sent: distill")
        client = store_at(project.folder, variables["MLFLOW_TRACKING_URI"]).client()
        (run,) = client.search_runs(["1"], "tags.`nodes` LIKE '%train_teacher%'")
        assert run.info.status == "FINISHED"
        assert run.data.tags["student"] == student.fingerprint
        assert "evaluation/student" in run.data.metrics
        curve = [point.step for point in client.get_metric_history(run.info.run_id, "student/loss")]
        assert curve == sorted(set(curve))
        assert len(curve) > 1
        for name in NAMES.values():
            (version,) = client.search_model_versions(f"name = '{name}'")
            assert version.tags["evaluation"] == "evaluated"
            assert version.run_id == run.info.run_id
    survived("MLflow: server killed in a training", 1)


def test_artifacts_move_with_a_project_and_a_copy_has_its_own(tmp_path):
    before, copy, after = (tmp_path / name for name in ("before", "copy", "after"))
    record, name = begin(store_at(before)), NAMES["student"]
    made_by = record.run.run_id
    record.trained(make_model("student", seed=5), name)
    record.run.end("FINISHED")
    shutil.copytree(before, copy)
    before.rename(after)
    for folder in (after, copy):
        run = TrackedRun.start(store_at(folder), "rangefinder", "later", {})
        files = run.client.list_artifacts(made_by)
        assert [each.path for each in files] == ["environment.json"]
        load_by_mlflow(f"models:/{name}/1")
        run.log_text("new.txt", "new")
        assert (folder / f"mlartifacts/{run.run_id}/artifacts/new.txt").is_file()
        run.end("FINISHED")
        with sqlite3.connect(folder / "mlflow.db") as database:
            dump = "\n".join(database.iterdump())
        assert (folder / "mlartifacts").as_uri() in dump
        assert before.as_uri() not in dump


@pytest.mark.parametrize("kept", ["s3://bucket/mlartifacts", "nas/mlartifacts"])
def test_artifacts_that_are_kept_elsewhere_keep_their_addresses(tmp_path, kept):
    store = store_at(tmp_path / "project")
    address = kept if "://" in kept else (tmp_path / kept).as_uri()
    if "://" not in kept:
        (tmp_path / kept).mkdir(parents=True)
    store.unsent.parents[1].mkdir(parents=True)
    store.client().create_experiment("elsewhere", artifact_location=address)
    (tmp_path / "project/mlartifacts").mkdir(exist_ok=True)
    found = store.client().get_experiment_by_name("elsewhere")
    assert found.artifact_location == address


def load_by_mlflow(uri):
    import mlflow

    assert mlflow.pyfunc.load_model(uri).metadata.signature is not None


def test_credentials_are_in_no_log_line():
    code = (
        "import logging, rangefinder.settings\n"
        f"logging.warning('no answer from %s', 'http://me:{SECRET}@host/')\n"
        f"try: raise OSError('no answer from http://me:{SECRET}@host/')\n"
        "except OSError: logging.exception('failed')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.count("no answer from http://***@host/\n") == 2
    assert "Traceback" in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    "uri", ["postgresql://me:p@ss@host/db", "http://me@host", "s3://bucket/?X-Amz-Signature=p@ss"]
)
def test_credentials_are_in_no_message(uri, tmp_path):
    error = ModelError(f"{uri} is gone", got=uri, expected=uri, todo=f"See {uri}.")
    for said in (str(error), error.what, error.found, error.expected, error.todo, error.finding):
        assert "p@ss" not in said
        assert "***" in said
    name = store_at(tmp_path, uri).name
    assert "***" in name
    assert "p@ss" not in name
