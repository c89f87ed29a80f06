from functools import partial
from pathlib import Path

import pytest
import yaml

from scoreinv import baselines
from scoreinv.config import (
    DEMOS,
    RUNS,
    ConfigError,
    CTSettings,
    dump_settings,
    load_batch,
    load_calibration,
    load_lesion,
    load_run,
    load_sample,
    load_settings,
    load_training,
    read_tree,
    resolve,
)
from scoreinv.samplers import METHODS
from scoreinv.training import PrepareSettings, TrainSettings

CONFIGS = Path(__file__).parents[2] / "configs"
TRAIN = {"data": {"phantoms": 1}, "phases": [{"steps": 1, "crop": 8, "batch": 1}]}


def problem(tree, overrides=(), model=CTSettings):
    with pytest.raises(ConfigError) as caught:
        resolve(model, tree, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def written(path, tree):
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return path


def test_defaults_are_the_demo():
    settings = resolve(CTSettings, {})
    assert settings.scan.views == 24
    assert settings.methods == ("fdk", "sart", "tv", "dds")
    assert settings.input.volume is None
    assert settings.sampling.prior == "ct-128"


@pytest.mark.parametrize(
    ("tree", "model", "where", "near"),
    [
        ({"method": ["fdk"]}, CTSettings, "method", "methods"),
        ({"scan": {"veiws": 3}}, CTSettings, "scan.veiws", "views"),
        ({"input": {"phantom": {"sed": 1}}}, CTSettings, "input.phantom.sed", "seed"),
        ({"sampling": {"max_slice": 1}}, CTSettings, "sampling.max_slice", "max_slices"),
        (
            TRAIN | {"phases": [{"steps": 1, "crops": 8, "batch": 1, "crop": 8}]},
            TrainSettings,
            "phases.0.crops",
            "crop",
        ),
        (TRAIN | {"network": {"chanels": [8]}}, TrainSettings, "network.chanels", "channels"),
    ],
)
def test_unknown_key_names_the_nearest_known_one(tree, model, where, near):
    assert problem(tree, model=model) == f"config: unknown key {where}; did you mean {near!r}?"


def test_unknown_key_like_no_other_lists_the_known_ones():
    message = problem({"scan": {"zzz": 1}})
    assert "unknown key scan.zzz; expected one of" in message
    assert "'views'" in message


def test_set_takes_numbers_lists_null_and_sections():
    overrides = [
        "scan.views=48",
        "scan.photons=null",
        "methods=[fdk, cgls]",
        "input.phantom={seed: 3, shape: [4, 8, 8]}",
        "input.phantom.seed=4",
        "sampling.prior=a=b",
        "name=thorax",
    ]
    settings = resolve(CTSettings, {"scan": {"views": 3, "seed": 5}}, overrides)
    assert (settings.scan.views, settings.scan.photons, settings.scan.seed) == (48, None, 5)
    assert settings.methods == ("fdk", "cgls")
    assert (settings.input.phantom.seed, settings.input.phantom.shape) == (4, (4, 8, 8))
    assert (settings.sampling.prior, settings.name) == ("a=b", "thorax")


def test_set_reaches_into_a_section_without_keys():
    assert resolve(CTSettings, {"scan": None}, ["scan.views=7"]).scan.views == 7


def test_set_leaves_the_given_tree_alone():
    tree = {"scan": {"views": 3}}
    resolve(CTSettings, tree, ["scan.views=5"])
    assert tree == {"scan": {"views": 3}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scan.views", "expected key.path=value"),
        ("=3", "expected key.path=value"),
        ("name.first=a", "name is a value, not a section"),
        ("methods=[fdk", "not YAML"),
        ("scan.veiws=3", "did you mean 'views'?"),
        ("scan.views=many", "scan.views"),
    ],
)
def test_unusable_set_is_one_line(override, message):
    assert message in problem({"name": "x"}, [override])


@pytest.mark.parametrize(
    ("tree", "parts"),
    [
        ({"scan": {"views": 0}}, ("scan.views", "greater than or equal to 1", "got 0")),
        ({"methods": ["fdk", "magic"]}, ("methods", "'fdk'", "unknown method 'magic'")),
        ({"methods": []}, ("methods", "got []")),
        ({"methods": ["unet"], "networks": {"unett": "x"}}, ("methods", "unknown method 'unet'", "'unett'")),
        ({"methods": ["fdk+dds"]}, ("'fdk+dds' starts a sampler", "expected 'fdk' listed before it")),
        ({"methods": ["fdk", "fdk+sart"]}, ("'fdk+sart' starts a sampler", "and a sampler")),
        ({"options": {"sart": {"passes": 2}}}, ("options", "sart has no option 'passes'", "'iterations', 'subsets'")),
        ({"options": {"tv": {"likelihood": "x"}}}, ("options", "tv has no option 'likelihood'")),
        ({"options": {"dds": {"steps": 2}}}, ("options", "'dds' is no classical method of this run")),
        ({"options": {"naf": {"rays": 2}}}, ("options", "'naf' is no classical method of this run")),
        ({"options": {"sart": {"iterations": 2.5}}}, ("options", "sart.iterations: ", "integer", "got 2.5")),
        ({"options": {"sart": {"nonnegative": "perhaps"}}}, ("options", "sart.nonnegative: ", "boolean")),
        ({"methods": ["fdk"], "options": {"fdk": {"filter": "box"}}}, ("options", "fdk.filter: ", "'ramp'")),
        ({"device": "gpu"}, ("device: no such device; expected cpu, cuda, or", "got 'gpu'")),
        ({"networks": {"fdk": "x"}}, ("networks", "'fdk' is the name of a method")),
        ({"networks": {"../fdk": "x"}}, ("networks", "should match pattern")),
        ({"input": {"phantom": {"shape": [1, 2]}}}, ("input.phantom.shape.2", "required")),
        ({"scan": 3}, ("scan", "got 3")),
        ({"scan": {"photons": float("inf")}}, ("scan.photons", "finite", "got inf")),
        ({"input": {"phantom": {"voxel_size": [3, 0, 3]}}}, ("input.phantom.voxel_size.1", "greater than 0", "got 0")),
    ],
)
def test_wrong_value_says_where_what_and_got(tree, parts):
    message = problem(tree)
    assert all(part in message for part in parts), message


def test_every_method_of_the_house_can_be_asked_for():
    everything = (*METHODS, *baselines.CT)
    assert resolve(CTSettings, {"methods": list(everything)}).methods == everything
    assert {*baselines.CT, *baselines.MRI, *baselines.PET} == {*baselines.__all__}


def test_options_are_numbers_however_they_are_written():
    told = resolve(CTSettings, {"methods": ["cgls"]}, ["options.cgls.tolerance=1e-3"])
    assert told.options == {"cgls": {"tolerance": 1e-3}}


def test_methods_of_other_scanners_are_refused():
    message = problem({"methods": ["fdk", "cg_sense"]})
    assert message.startswith("config: methods: unknown method 'cg_sense'; expected one of ['")


def test_an_offset_detector_needs_a_size():
    assert "give the shape of the offset detector" in problem({"scan": {"detector_offset": [0, 60]}})


def test_unknown_method_names_the_nearest_known_one():
    assert problem({"methods": ["fdk", "dds-2042"]}) == (
        "config: methods: unknown method 'dds-2042'; did you mean 'dds-2024'?, got ['fdk', 'dds-2042']"
    )


@pytest.mark.parametrize(
    ("tree", "override", "key"),
    [
        ({}, "input.every=2", "input.every"),
        ({}, "input.bin=2", "input.bin"),
        ({}, "input.pixel_size=0.5", "input.pixel_size"),
        ({}, "grid.shape=[4, 8, 8]", "grid.shape"),
        ({"input": {"projections": "scan.h5"}}, "scan.views=48", "scan.views"),
        ({"input": {"data_exchange": "scan.h5"}}, "scan.photons=null", "scan.photons"),
        ({"input": {"projections": "scan.h5"}}, "input.pixel_size=0.5", "input.pixel_size"),
    ],
)
def test_what_would_be_ignored_is_refused(tree, override, key):
    assert f"{key} has no effect: the input is" in problem(tree, [override])
    resolve(CTSettings, tree)


def test_saved_settings_of_a_measured_scan_can_be_loaded(tmp_path):
    settings = resolve(CTSettings, {"input": {"data_exchange": "scan.h5", "every": 4}})
    assert load_settings(CTSettings, written(tmp_path / "c.yaml", dump_settings(settings))) == settings


@pytest.mark.parametrize("key", ["data.voxel_size", "sigma_range"])
def test_ranges_rise(key):
    assert f"{key}: expected 0 < smallest <= largest, got" in problem(TRAIN, [f"{key}=[3, 2]"], TrainSettings)


def test_two_inputs_are_refused():
    message = problem({"input": {"volume": "a.nii", "projections": "b.h5"}})
    assert "volume and projections are both given; expected one" in message


def test_a_stack_of_projections_and_its_geometry_come_together():
    assert "stack.mha, an MHA stack without a geometry" in problem({"input": {"projections": "stack.mha"}})
    for source in ({}, {"projections": "scan.h5"}):
        assert "expected the MHA stack (.mha)" in problem({"input": source | {"geometry": "geometry.xml"}})
    settings = resolve(CTSettings, {"input": {"projections": "stack.mha", "geometry": "geometry.xml"}})
    assert settings.input.geometry == Path("geometry.xml")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        resolve(CTSettings, {}).name = "other"


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file, expected a YAML configuration"):
        load_settings(CTSettings, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not YAML"),
        ("- 1\n- 2\n", "expected keys and values, got list"),
        ("scan: {views: !!python/name:os.remove }", "not YAML .*python/name:os.remove"),
    ],
)
def test_file_that_is_no_configuration(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(CTSettings, written(tmp_path / "c.yaml", text))
    assert "\n" not in str(caught.value)
    assert "c.yaml" in str(caught.value)


@pytest.mark.parametrize("path", ["pet/simulated.yaml", "cbct/sparse_view.yaml", "mri/radial.yaml"])
def test_a_file_on_the_command_line_takes_the_place_of_the_phantom(path):
    assert load_run(CONFIGS / path, ["input.volume=own.nii.gz"]).input.volume == Path("own.nii.gz")


def test_empty_file_means_the_defaults(tmp_path):
    assert load_settings(CTSettings, written(tmp_path / "c.yaml", "")) == resolve(CTSettings, {})


def test_dump_and_load_round_trip(tmp_path):
    settings = resolve(CTSettings, {"input": {"volume": "scan.nii.gz"}, "scan": {"photons": None, "arc": 200.5}})
    assert load_settings(CTSettings, written(tmp_path / "c.yaml", dump_settings(settings))) == settings


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_of_the_house_is_valid(path):
    kind = path.parent.name
    loaders = {"train": load_training, "prepare": partial(load_settings, PrepareSettings)}
    loaders |= {"batch": lambda path: load_batch(path)[0], "uncertainty": lambda path: load_calibration(path)[0]}
    loaders |= {"sample": lambda path: load_sample(path)[0]}
    tree = read_tree(path)
    default = load_training if "model" in tree else loaders["batch"] if "cases" in tree else load_run
    loaders |= {"uncertainty": lambda path: load_lesion(path)[0]} if path.stem == "lesion" else {}
    settings = loaders.get(kind, default)(path)
    assert settings.name
    if kind in RUNS:
        assert settings.modality == kind


@pytest.mark.parametrize("load", [load_run, load_sample, load_training])
def test_a_kind_that_is_no_name_is_refused_like_an_unknown_one(tmp_path, load):
    tree = {"run": {"modality": []}} if load is load_sample else {"modality": [], "model": []}
    with pytest.raises(ConfigError, match=r"(modality|model) is \[\], expected one of"):
        load(written(tmp_path / "c.yaml", tree))


def test_an_unknown_key_below_a_name_names_the_nearest_known_one(tmp_path):
    tree = {"run": {"methods": ["dds"]}, "regions": {"liver": {"center": [0, 0, 0], "radius": 3}}}
    with pytest.raises(ConfigError, match=r"unknown key regions\.liver\.center; did you mean 'centre'"):
        load_sample(written(tmp_path / "c.yaml", tree))


def test_a_file_of_another_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="format: input should be 1, got 0"):
        load_sample(written(tmp_path / "c.yaml", {"format": 0, "run": {"methods": ["dds"]}}))


def test_unknown_modality_lists_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"modality is 'sonar', expected one of \['cbct', 'mri'"):
        load_run(written(tmp_path / "c.yaml", {"modality": "sonar"}))


def test_demos_are_valid():
    for modality, trees in DEMOS.items():
        assert {resolve(RUNS[modality], tree).modality for tree in trees} == {modality}
