"""Each kind of mistake in a beamline's file is told in a sentence, with its line; the cases are files, marked by hand."""

import re
from pathlib import Path

import pytest

from concertino import StorageError
from concertino.beamline import BeamlineFileError, Mistake, read_beamline

#: A comment that stands in the line that a message must name.
HERE = "# HERE"

TWIN = '[devices.twin]\nclass = "SimulatedBeamline"\nparts = ["camera", "rotation", "shutter", "ring"]\n'

#: What is wrong, the file, and what the message says.
CASES: list[tuple[str, str, str]] = [
    # The form of the file
    ("no TOML", "[data]\ndirectory = here # HERE\n", "This is no TOML: Invalid value"),
    ("no TOML at its end", 'x = """\n# HERE', "This is no TOML: Unterminated string"),
    ("given twice", "[data]\n[data] # HERE\n", "This is no TOML: Cannot declare"),
    ("unknown table", "[devcies.a] # HERE\nclass = 'x'\n", "devcies is unknown; there are data, metadata,"),
    ("unknown table, meant", "[devcies.a] # HERE\n", "Did you mean 'devices'?"),
    ("unknown key", "[data]\npatern = 'a' # HERE\n", "data.patern is unknown; there are directory, pattern, catalog. Did you mean 'pattern'?"),
    ("unknown key of a device", TWIN + "clas = 'x' # HERE\n", "devices.twin.clas is unknown; there are class, arguments,"),
    ("missing key", TWIN + "[[suspenders]] # HERE\nclass = 'SuspendFloor'\n", "suspenders[0].signal is missing. Add it to [suspenders[0]]."),
    ("missing file of happi", "[happi] # HERE\n", "happi.database is missing"),
    ("no list", "baseline = 5 # HERE\n", "baseline: 5 was given. It should be a valid list; give that."),
    ("no text in a list", "baseline = [\n  'a',\n  5, # HERE\n]\n", "baseline[1]: 5 was given. It should be a valid string"),
    ("no table", "[callbacks]\nwriter = 'tiff' # HERE\n", "callbacks.writer: 'tiff' was given."),
    ("no choice", "[callbacks.writer]\nformat = 'bmp' # HERE\n", "callbacks.writer.format: 'bmp' was given. It should be 'tiff', 'hdf5' or 'zarr'"),
    ("too small", "[callbacks.writer]\nbytes_per_file = -1 # HERE\n", "callbacks.writer.bytes_per_file: -1 was given. It should be greater than or equal to 0"),
    ("port", "[callbacks.live_view]\nport = 70000 # HERE\n", "callbacks.live_view.port: 70000 was given. It should be less than or equal to 65535"),
    ("a time that is none", TWIN + "timeout = '10 mm' # HERE\n", "devices.twin.timeout: "),
    ("a time of no length", TWIN + "timeout = 0 # HERE\n", "devices.twin.timeout: "),
    ("level", "[logging]\nbluesky = 'LOUD' # HERE\n", "logging.bluesky: 'LOUD' was given. It should be 'DEBUG',"),
    # Secrets
    ("secret", "[metadata]\npassword = 'x' # HERE\n", "metadata.password: a secret stands in the file, which others read. Put it into an environment variable"),
    ("secret in an address", "[metadata]\nserver = 'http://me:pw@host/' # HERE\n", "metadata.server: a secret stands in the file"),
    # Devices
    ("name", "[devices.2x] # HERE\nclass = 'SimulatedMotor'\narguments = {unit = 'mm', velocity = 1, max_velocity = 2}\n", "'2x' is no name that can be typed at a prompt"),
    ("name of the language", "[devices.lambda] # HERE\nclass = 'SimulatedMotor'\narguments = {unit = 'mm', velocity = 1, max_velocity = 2}\n", "'lambda' is no name that can be typed"),
    ("name of a plan", "[devices.resume] # HERE\nclass = 'SimulatedMotor'\narguments = {unit = 'mm', velocity = 1, max_velocity = 2}\n", "'resume' is something else at the prompt and in plans. Give the device another name."),
    ("part with a name of the prompt", "[devices.a]\nclass = 'beamline_of_tests.Plain'\nparts = ['move'] # HERE\n", "'move' is something else at the prompt"),
    ("neither class nor happi", "[devices.a] # HERE\ntimeout = 1\n", "devices.a: neither class nor happi was given. Give one of them"),
    ("class and happi", "[devices.a] # HERE\nclass = 'SimulatedMotor'\nhappi = 'm'\narguments = {unit = 'mm', velocity = 1, max_velocity = 2}\n", "devices.a: both class and happi were given. Give one of them"),
    ("happi without a database", "[devices.a]\nhappi = 'm' # HERE\n", "devices.a.happi: no happi database is named. Add [happi] with database = 'FILE'."),
    ("no class of ours", "[devices.a]\nclass = 'SimulatedMoter' # HERE\n", "'SimulatedMoter' was given, and concertino.devices has none of this name, nor has an entry point. Did you mean 'SimulatedMotor'?"),
    ("no name of a class", "[devices.a]\nclass = 'a b' # HERE\n", "'a b' was given; give the dotted name of a class"),
    ("no module", "[devices.a]\nclass = 'nowhere.devices.Motor' # HERE\n", "'nowhere.devices.Motor' cannot be imported: there is no module 'nowhere'"),
    ("no class in a module", "[devices.a]\nclass = 'ophyd_async.epics.motor.Moter' # HERE\n", "'ophyd_async.epics.motor.Moter' was given: module 'ophyd_async.epics.motor' has no attribute 'Moter'. Change the last part"),
    ("no attribute", "[devices.a]\nclass = 'ophyd_async.epics.motor:Moter' # HERE\n", "was given: module 'ophyd_async.epics.motor' has no attribute 'Moter'"),
    ("no class and no function", "[devices.a]\nclass = 'math.pi' # HERE\n", "'math.pi' was given, which is no class and no function. Give what makes a device."),
    ("module that fails", "[devices.a]\nclass = 'beamline_that_fails.Motor' # HERE\n", "'beamline_that_fails.Motor' cannot be imported: RuntimeError: no licence. See that 'import beamline_that_fails' works in Python."),
    ("unknown argument", "[devices.a]\nclass = 'SimulatedMotor'\narguments = {unit = 'mm', velocity = 1, max_velocity = 2, velocty = 5} # HERE\n", "SimulatedMotor has no argument 'velocty'; there are unit, position, velocity,"),
    ("missing argument", "[devices.a] # HERE\nclass = 'ophyd_async.epics.motor.Motor'\n", "ophyd_async.epics.motor.Motor needs prefix. Add it to its arguments."),
    ("missing arguments", "[devices.a] # HERE\nclass = 'SignalBeam'\narguments.signal = 5\n", "SignalBeam needs on, off. Add them to its arguments."),
    ("argument of another unit", TWIN + "arguments.exposure = '5 mm' # HERE\n", "devices.twin.arguments.exposure: a time in s is wanted"),
    ("argument that is no number", TWIN + "arguments.exposure = true # HERE\n", "devices.twin.arguments.exposure: True was given; give a number."),
    ("argument of no known unit", "[devices.a]\nclass = 'beamline_of_tests.Plain'\narguments.speed = '5 mm/s' # HERE\n", "'5 mm/s' was given, and its class does not say in which unit it takes a number. Give a plain number"),
    ("type of a signal", "[devices.a]\nclass = 'ophyd_async.epics.core.epics_signal_r'\narguments.read_pv = 'X'\narguments.datatype = 'double' # HERE\n", "datatype: 'double' was given; give 'bool', 'int', 'float', 'str', or the list of an enumeration's choices"),
    ("variable that is not set", "[devices.a]\nclass = 'TangoMotor'\narguments.address = {environment = 'NOT_SET_HERE'} # HERE\n", "The environment variable NOT_SET_HERE is not set. Set it in the shell that starts this."),
    ("unknown device in an argument", "[devices.a]\nclass = 'SignalBeam'\narguments = {signal = {device = 'shuter'}, on = 1, off = 0} # HERE\n" + TWIN, "there is no device 'shuter'; there are a, twin, camera, rotation, shutter, ring. Did you mean 'shutter'?"),
    ("unknown part", "[devices.twin]\nclass = 'SimulatedBeamline'\nparts = [\n  'camera',\n  'rotatoin', # HERE\n]\n", "SimulatedBeamline has no 'rotatoin'. Give names of its attributes that are devices."),
    ("circle", "[devices.a]# HERE\nclass = 'SignalBeam'\narguments = {signal = {device = 'b'}, on = 1, off = 0}\n[devices.b]\nclass = 'SignalBeam'\narguments = {signal = {device = 'a'}, on = 1, off = 0}\n", "each of these devices needs another one first: a → b → a. Make one without the other."),
    ("two of a name", TWIN + "[devices.other]\nclass = 'SimulatedBeamline'\nparts = ['ring'] # HERE\n", "'ring' is the name of another device, too. Rename that one, or leave this part out."),
    ("part and device of a name", "[devices.ring]\nclass = 'beamline_of_tests.Plain'\n[devices.twin]\nclass = 'SimulatedBeamline'\nparts = ['ring'] # HERE\n", "'ring' is the name of another device, too."),
    # Roles, and names of devices elsewhere
    ("unknown role", TWIN + "[roles]\nrotaton = 'rotation' # HERE\n", "roles.rotaton: no plan knows this part; there are camera, rotation, beam,"),
    ("role of no device", TWIN + "[roles]\nbeam = 'shuter' # HERE\n", "roles.beam: there is no device 'shuter'; there are twin, camera, rotation, shutter, ring. Did you mean 'shutter'?"),
    ("role of two devices", TWIN + "[roles]\nbeam = ['shutter', 'ring'] # HERE\n", "roles.beam: 2 devices were given. Give one; only cameras can be several."),
    ("role of none", TWIN + "[roles]\nbeam = [] # HERE\n", "roles.beam: [] was given. Give a device, and each only once."),
    ("no camera", TWIN + "[roles]\ncamera = [] # HERE\n", "roles.camera: [] was given. Give a device"),
    ("a camera twice", TWIN + "[roles]\ncamera = ['camera', 'camera'] # HERE\n", "roles.camera: ['camera', 'camera'] was given. Give a device, and each only once."),
    ("table of no plan", "[defaults.continuous_tomograph] # HERE\nnum_darks = 5\n", "defaults.continuous_tomograph: no plan has this name; there are "),
    ("no device in the baseline", "baseline = ['a'] # HERE\n" + TWIN, "baseline[0]: there is no device 'a'"),
    ("no device that is monitored", "monitored = ['ringg.current'] # HERE\n" + TWIN, "monitored[0]: there is no device 'ringg.current'; there are twin, camera, rotation, shutter, ring. Did you mean 'ring'?"),
    ("no signal of a suspender", TWIN + "[[suspenders]]\nclass = 'SuspendFloor'\nsignal = 'rong' # HERE\narguments.suspend_thresh = 5\n", "suspenders[0].signal: there is no device 'rong'"),
    ("no class of a suspender", TWIN + "[[suspenders]] # HERE\nsignal = 'ring'\n", "suspenders[0]: class is missing. Give the name of a class."),
    ("unknown class of a suspender", TWIN + "[[suspenders]]\nsignal = 'ring'\nclass = 'SuspendFlor' # HERE\n", "Did you mean 'SuspendFloor'?"),
    ("missing argument of a suspender", TWIN + "[[suspenders]] # HERE\nsignal = 'ring'\nclass = 'SuspendFloor'\n", "SuspendFloor needs suspend_thresh."),
    # Callbacks
    ("unknown class of an alarm", "[[callbacks.alarms]]\nclass = 'Saturatoin' # HERE\n", "callbacks.alarms[0].class: 'Saturatoin' was given, and concertino.callbacks has none of this name"),
    ("the second alarm", "[[callbacks.alarms]]\nclass = 'Saturation'\n[[callbacks.alarms]]\nclass = 'No' # HERE\n", "callbacks.alarms[1].class: 'No' was given"),
    ("unknown argument of an alarm", "[[callbacks.alarms]]\nclass = 'Saturation'\narguments.no = 1 # HERE\n", "Saturation has no argument 'no'; there are "),
    ("unknown class of another callback", "[[callbacks.others]]\nclass = 'nowhere.Mine' # HERE\n", "callbacks.others[0].class: 'nowhere.Mine' cannot be imported"),
    ("unknown setting", "[callbacks.reconstruction.settings]\nbeauty = 3 # HERE\n", "callbacks.reconstruction.settings.beauty: there is no such setting. Give another value, or leave it out."),
    ("setting of a wrong kind", "[callbacks.reconstruction.settings]\ncenter = 'left' # HERE\n", "callbacks.reconstruction.settings.center: Input should be a valid number"),
    # Defaults
    ("no parameter of any plan", "[defaults]\nnum_dark = 5 # HERE\n", "defaults.num_dark: this is no parameter of any plan; there are "),
    ("no parameter of this plan", "[defaults.radiography]\nnum_projectons = 5 # HERE\n", "defaults.radiography.num_projectons: this is no parameter of the plan radiography; there are "),
    ("a device among the defaults", "[defaults]\ncamera = 'camera' # HERE\n", "defaults.camera: this is a device. Name it in [roles] instead."),
    ("a plan's defaults that are no table", "[defaults]\nradiography = 5 # HERE\n", "defaults.radiography: 5 was given. Give a table of the plan's parameters."),
    ("a default that is no number", "[defaults]\nnum_projections = 'many' # HERE\n", "defaults.num_projections: 'many' is no quantity. Give"),
    ("a default of no frames", "[defaults.radiography]\nnum_darks = 0 # HERE\n", "defaults.radiography.num_darks: 0 is too small. Give at least 1 frame."),
    ("a default of half a step", "[defaults]\nnum_periods = 1.5 # HERE\n", "defaults.num_periods: 1.5 is not a whole number. Give one."),
    ("a default of another unit", "[defaults]\nangular_range = '5 mm' # HERE\n", "defaults.angular_range: an angle in deg is wanted, but '5 mm' is a length."),
    ("a default that is no position", "[defaults]\nflat_position = true # HERE\n", "defaults.flat_position: True is no quantity. Give a plain number."),
    ("a default of no scheme", "[defaults]\nscheme = 'golden' # HERE\n", "defaults.scheme: 'golden' was given; give 'equidistant', 'multi_turn', 'golden_ratio', 'timbir'"),
    ("a default of no stream", "[defaults.radiography]\norder = ['dark'] # HERE\n", "defaults.radiography.order: ['dark'] was given. Give a list such as ['darks', 'flats', 'projections']."),
    ("a default that is no choice", "[defaults]\non_lost = 'ignore' # HERE\n", "defaults.on_lost: 'ignore' was given. Give one of 'fail', 'flag'."),
    ("a default that is not yes or no", "[defaults]\nhalf_acquisition = 'yes' # HERE\n", "defaults.half_acquisition: 'yes' was given. Give true or false."),
    ("no device beside each frame", "[defaults]\nper_frame = ['rong'] # HERE\n" + TWIN, "defaults.per_frame[0]: there is no device 'rong'"),
    # Files and metadata
    ("pattern without a number", "[data]\npattern = 'scan' # HERE\n", "data.pattern: 'scan' was given; give one with exactly one field for the scan id"),
    ("pattern with two fields", "[data]\npattern = '{}_{}' # HERE\n", "data.pattern: '{}_{}' does not make a name of a scan id"),
    ("pattern that leaves the directory", "[data]\npattern = '../{:04d}' # HERE\n", "data.pattern: '../{:04d}' does not make a name of a scan id"),
    ("directory with a NUL", '[data]\ndirectory = "da\\u0000ta" # HERE\n', "data.directory: 'da\\x00ta' was given. Give a name without a NUL character."),
    ("no database", "[happi]\ndatabase = 'none.json' # HERE\n", "none.json is no file. Give the name of one."),
    ("no module of devices", "device_modules = ['nowhere_at_all'] # HERE\n", "device_modules[0]: 'nowhere_at_all' cannot be imported: there is no module 'nowhere_at_all'"),
    ("no model of metadata", "metadata_model = 'nowhere.Model' # HERE\n", "metadata_model: 'nowhere.Model' cannot be imported"),
    ("a model that is none", "metadata_model = 'math.sin' # HERE\n", "metadata_model: math.sin is no model of pydantic. Give one."),
    ("metadata that breaks the model", "metadata_model = 'beamline_of_tests.Proposal'\n[metadata]\nproposal = 5 # HERE\n", "metadata.proposal: beamline_of_tests.Proposal says: Input should be a valid string. Give what it wants."),
]  # fmt: skip

#: Modules of a facility, which files name.
MODULES = {
    "beamline_that_fails": "raise RuntimeError('no licence')",
    "beamline_of_tests": """
from pydantic import BaseModel
class Plain:
    move = None
    def __init__(self, speed: float = 1.0, name: str = "") -> None: ...
class Proposal(BaseModel):
    proposal: str
""",
}


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


def mistakes(path: Path, text: str) -> tuple[Mistake, ...]:
    path.write_text(text)
    with pytest.raises(BeamlineFileError) as raised:
        read_beamline(path)
    assert str(path) in str(raised.value)
    return raised.value.mistakes


def marked(text: str) -> int:
    """Return the number of the marked line."""
    (line,) = [number for number, one in enumerate(text.split("\n"), 1) if HERE in one]
    return line


@pytest.mark.parametrize(("text", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])  # fmt: skip
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (found,) = mistakes(tmp_path / "beamline.toml", text)

    assert message in found.sentence
    assert found.line == marked(text)
    # A sentence: with an end, and with something to do.
    assert re.search(r"[.?]$", found.sentence)


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = (
        "baseline = ['nothing']\n"  # 1
        "unknown = 1\n"  # 2
        "[data]\n"
        "pattern = 'scan'\n"  # 4
        "[devices.motor]\n"
        "class = 'SimulatedMoter'\n"  # 6
        "timeout = '5 mm'\n"  # 7
        "[roles]\n"
        "beam = 'nobody'\n"  # 9
        "[callbacks.writer]\n"
        "format = 'bmp'\n"  # 11
    )
    assert [one.line for one in mistakes(tmp_path / "b.toml", text)] == [1, 2, 4, 6, 7, 9, 11]


def test_lines_are_those_of_long_values_tables_of_tables_and_dotted_keys(tmp_path: Path) -> None:
    text = (
        "[metadata]\n"
        'note = """\n'
        "[data] is no table here\n"
        'pattern = 5 neither"""\n'
        "[[callbacks.alarms]]\n"
        "class = 'Saturation'\n"
        "[[callbacks.alarms]]\n"
        "\n"
        "# a comment\n"
        "class = 'Saturation'\n"
        "arguments.share = [\n"
        "  1,\n"
        "]\n"
        "arguments.wrong = 1 # HERE\n"
    )
    lines = {one.line for one in mistakes(tmp_path / "b.toml", text)}
    assert marked(text) in lines


def test_the_same_in_yaml(tmp_path: Path) -> None:
    text = (
        "data:\n"
        "  pattern: scan\n"
        "devices:\n"
        "  a:\n"
        "    class: SimulatedMoter\n"
        "  twin:\n"
        "    class: SimulatedBeamline\n"
        "    parts:\n"
        "      - camera\n"
        "      - rotatoin\n"
        "data:\n"
        "  directory: x\n"
    )
    found = mistakes(tmp_path / "beamline.yaml", text)
    # YAML takes the second of two equal keys, so that the pattern in line 2 does not count.
    assert [one.line for one in found] == [5, 10, 11]
    assert found[2].sentence == "data stands here and in line 1. Remove one of them."


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: [1\nb: 2\n", 2, "This is no YAML: "),
        ("a: 1\n b: 2\n", 2, "This is no YAML: "),
        ("- a\n", 1, "This is no table. Write keys with values"),
    ],
)
def test_no_yaml(tmp_path: Path, text: str, line: int, message: str) -> None:
    (found,) = mistakes(tmp_path / "beamline.yml", text)
    assert (found.line, message in found.sentence) == (line, True), found


def test_a_file_of_other_letters(tmp_path: Path) -> None:
    path = tmp_path / "beamline.toml"
    path.write_bytes("[metadata]\nuser = 'Müller'\n".encode("latin-1"))
    with pytest.raises(
        BeamlineFileError, match=r"line 2: This is no UTF-8\. Save the file as UTF-8"
    ):
        read_beamline(path)


def test_a_file_with_a_mark_before_it(tmp_path: Path) -> None:
    path = tmp_path / "beamline.toml"
    path.write_bytes(b"\xef\xbb\xbf[data]\ndirectory = 'mark'\n")
    assert read_beamline(path).directory == tmp_path / "mark"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=r"is a directory\. Give the file in it, such as .*beamline\.toml"
    ):
        read_beamline(tmp_path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError,
        match=r"beamline\.toml was to describe a beamline, and is no file\. .* concertino init",
    ):
        read_beamline(tmp_path / "beamline.toml")


def test_a_variable_of_the_environment_that_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCERTINO_BEAMLINE_CALLBACKS__WRITER__FORMAT", "bmp")
    (found,) = mistakes(tmp_path / "beamline.toml", "[callbacks.writer]\nformat = 'tiff'\n")
    assert found.line == 0
    assert found.sentence.startswith(
        "The environment variable CONCERTINO_BEAMLINE_CALLBACKS__WRITER__FORMAT overrides the file. "
        "callbacks.writer.format: 'bmp' was given."
    )


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("BASELINE", "[ring", "The environment variable CONCERTINO_BEAMLINE_BASELINE overrides the file, and is no JSON."),
        ("DATA__DIRECTRY", "x", "CONCERTINO_BEAMLINE_DATA__DIRECTRY overrides the file. data.directry is unknown; there are directory, "),
    ],
)  # fmt: skip
def test_a_variable_that_cannot_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"CONCERTINO_BEAMLINE_{variable}", value)
    (found,) = mistakes(tmp_path / "beamline.toml", "[data]\ndirectory = 'x'\n")
    assert message in found.sentence
    assert found.line == 0
