"""The programs of a mesh and the supervisor's configuration for them."""

import configparser
import json
import shlex
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from predmesh_cli.home import LONGEST_SOCKET_NAME, Home
from predmesh_cli.launch import MARK
from predmesh_cli.mesh_settings import MeshSettings, internal_ports
from predmesh_cli.passwords import Passwords
from predmesh_cli.supervisor_ini import supervisor_ini
from predmesh_cli.topology import Engines, Mesh, Program, program_names, topology
from predmesh_cli.workers import SERVICES
from predmesh_cli.written import gateway_settings, inherited, scrape_targets, spec, store_folder

ROOT = Path("/srv/a mesh, 100% ours")
SECRETS = Passwords(features="f-secret", writer="w-secret", watcher="i-secret")
SETTINGS = MeshSettings(
    sockets=ROOT / "run",
    ports={name: 40000 + index for index, name in enumerate(internal_ports({}))},
    environment={"X": "1"},
)
SEVERAL = {"prediction": 2, "features": 3, "preprocessing": 1}
SCALED_SETTINGS = replace(
    SETTINGS,
    sockets=Path("/srv/run"),
    processes=SEVERAL,
    ports={name: 50000 + index for index, name in enumerate(internal_ports(SEVERAL))},
)
ENGINES = Engines(redis=("/bin/redis", "conf"), triton=("/bin/triton",), envoy=("/bin/envoy",))


@pytest.fixture
def mesh() -> Mesh:
    return Mesh(
        home=Home(ROOT),
        settings=SETTINGS,
        passwords=SECRETS,
        store=ROOT / "store",
        python="/env/bin/python",
        inherited={"PATH": "/bin"},
    )


@pytest.fixture
def programs(mesh: Mesh) -> dict[str, Program]:
    return {program.name: program for program in topology(mesh, ENGINES)}


def ini(programs: dict[str, Program]) -> configparser.ConfigParser:
    text = supervisor_ini(
        list(programs.values()),
        run=ROOT / "run",
        logs=ROOT / "logs",
        socket=ROOT / "run" / "supervisor.sock",
        launcher=("/env/bin/python", "-I", "launch.py"),
        specs=ROOT / "run" / "programs",
    )
    # As the supervisor reads it: a percent sign left alone would be an expansion.
    parser = configparser.ConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(text)
    return parser


def test_every_program_is_there_once(programs: dict[str, Program]) -> None:
    assert tuple(programs) == program_names({})


def test_every_process_knows_its_mesh_and_is_marked(programs: dict[str, Program]) -> None:
    for name, program in programs.items():
        assert program.environment["PREDMESH_HOME"] == str(ROOT)
        assert program.environment[MARK] == f"{ROOT}:{name}"
        assert program.environment["X"] == "1"


def test_services_listen_where_the_others_look(programs: dict[str, Program]) -> None:
    prediction = programs["prediction"].environment
    for stage in ("features", "preprocessing", "explanation"):
        listens = programs[stage].environment[f"{stage.upper()}_ADDRESS"]
        assert prediction[f"PREDICTION_{stage.upper()}_ADDRESS"] == f"h2+{listens}"
    assert prediction["PREDICTION_TRITON_ADDRESS"] == f"h2+{programs['triton'].address}"


def test_the_gateway_calls_prediction(mesh: Mesh) -> None:
    mesh = replace(mesh, settings=replace(SETTINGS, sockets=Path("/srv/run")))
    programs = {program.name: program for program in topology(mesh, ENGINES)}
    gateway, prediction = gateway_settings(mesh), programs["prediction"].environment
    assert gateway.prediction_addresses == (prediction["PREDICTION_ADDRESS"],)


@pytest.fixture
def scaled_mesh(mesh: Mesh) -> Mesh:
    return replace(mesh, settings=SCALED_SETTINGS)


@pytest.fixture
def scaled(scaled_mesh: Mesh) -> dict[str, Program]:
    return {program.name: program for program in topology(scaled_mesh, ENGINES)}


def test_workers_are_programs_of_their_own(scaled: dict[str, Program]) -> None:
    assert tuple(scaled) == program_names(SEVERAL)
    workers = [scaled[f"features.{number}"] for number in range(3)]
    assert {program.argv[-1] for program in workers} == {"predmesh_features"}
    for variable in (
        "FEATURES_INSTANCE",
        "FEATURES_ADDRESS",
        "FEATURES_METRICS_ADDRESS",
        MARK,
    ):
        assert len({program.environment[variable] for program in workers}) == 3


def test_prediction_calls_every_worker_of_a_stage(scaled: dict[str, Program]) -> None:
    listen = [scaled[f"features.{number}"].environment["FEATURES_ADDRESS"] for number in range(3)]
    for name in ("prediction.0", "prediction.1"):
        said = scaled[name].environment["PREDICTION_FEATURES_ADDRESS"]
        assert said == ",".join(f"h2+{each}" for each in listen)


def test_the_gateway_calls_every_prediction(scaled_mesh: Mesh, scaled: dict[str, Program]) -> None:
    gateway, workers = gateway_settings(scaled_mesh), [scaled["prediction.0"], scaled["prediction.1"]]
    assert gateway.prediction_addresses == tuple(each.environment["PREDICTION_ADDRESS"] for each in workers)
    sockets = tuple(each.environment["PREDICTION_WEBSOCKET_ADDRESS"] for each in workers)
    assert gateway.prediction_websocket_addresses == sockets
    assert len(set(sockets)) == 2


def test_prometheus_finds_every_worker(scaled: dict[str, Program]) -> None:
    found = {entry["labels"]["worker"]: entry for entry in json.loads(scrape_targets(list(scaled.values())))}
    assert set(found) == set(scaled) - {"redis", "envoy"}
    assert found["prediction.1"]["labels"]["service"] == "prediction"
    assert found["prediction.1"]["targets"] == [scaled["prediction.1"].metrics]


def test_every_socket_fits_where_the_folder_was_chosen_for(programs: dict[str, Program]) -> None:
    addresses = {
        value.removeprefix("h2+")
        for program in programs.values()
        for name, value in program.environment.items()
        if name.endswith("_ADDRESS") and value.removeprefix("h2+").startswith("unix:")
    }
    assert len(addresses) >= len(SERVICES) + 2
    sockets = {Path(address.removeprefix("unix:").removesuffix(":1")) for address in addresses}
    assert {socket.parent for socket in sockets} == {SETTINGS.sockets}
    assert max(len(socket.name) for socket in sockets) <= LONGEST_SOCKET_NAME


def holders(programs: dict[str, Program], secret: str) -> set[str]:
    return {name for name, program in programs.items() if secret in json.dumps(dict(program.environment))}


def test_who_looks_features_up_may_read_and_features_alone_may_write(programs: dict[str, Program]) -> None:
    assert holders(programs, "f-secret") == {"features", "prediction"}
    assert holders(programs, "w-secret") == {"features"}
    assert holders(programs, "i-secret") == set()


def test_no_command_line_holds_a_password(programs: dict[str, Program]) -> None:
    assert not any("secret" in word for program in programs.values() for word in program.argv)


def test_the_supervisor_never_gives_up_and_ends_whole_groups(programs: dict[str, Program]) -> None:
    parsed = ini(programs)
    for name in programs:
        section = parsed[f"program:{name}"]
        assert section["autorestart"] == "true"
        assert int(section["startretries"]) > 10**6
        assert section["killasgroup"] == "true"
        assert section["stopsignal"] == "TERM"


def test_logs_are_rotated(programs: dict[str, Program]) -> None:
    section = ini(programs)["program:features"]
    assert section["stdout_logfile"] == str(ROOT / "logs" / "features.log")
    assert int(section["stdout_logfile_maxbytes"]) > 0
    assert int(section["stdout_logfile_backups"]) > 0


def test_a_path_with_blanks_and_percent_signs_survives(programs: dict[str, Program]) -> None:
    words = shlex.split(ini(programs)["program:redis"]["command"])
    assert words[-1] == str(ROOT / "run" / "programs" / "redis.json")


def test_the_gateway_ends_first_and_the_engines_last(programs: dict[str, Program]) -> None:
    parsed = ini(programs)
    groups = {name: int(parsed[name]["priority"]) for name in parsed.sections() if name.startswith("group:")}
    assert sorted(groups, key=lambda name: groups[name]) == ["group:engines", "group:services", "group:edge"]
    assert parsed["group:services"]["programs"].split(",") == list(SERVICES)


def test_a_specification_is_what_the_launcher_reads(programs: dict[str, Program], tmp_path: Path) -> None:
    document = json.loads(spec(programs["redis"], tmp_path / "redis.json"))
    assert document["argv"] == ["/bin/redis", "conf"]
    assert document["environment"] == dict(programs["redis"].environment)
    assert set(document) == {"argv", "environment", "directory", "death_signal", "record"}


def test_programs_see_nothing_of_the_callers_secrets() -> None:
    shell = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "s",
        "FEATURES_GRACE_SECONDS": "2",
        "FEATURES_ADDRESS": "unix:/elsewhere",
        "PREDMESH_LOG_LEVEL": "DEBUG",
        "PREDMESH_REDIS_URL": "redis://elsewhere",
    }
    assert inherited(shell) == {"PATH": "/bin", "FEATURES_GRACE_SECONDS": "2", "PREDMESH_LOG_LEVEL": "DEBUG"}


def test_the_store_can_lie_elsewhere() -> None:
    home = Home(ROOT)
    assert store_folder(home, {}) == ROOT / "store"
    assert store_folder(home, {"PREDMESH_STORE": "/srv/store"}) == Path("/srv/store")


def test_private_files_stay_private(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.make()
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (home.secrets, home.programs)} == {0o700}
