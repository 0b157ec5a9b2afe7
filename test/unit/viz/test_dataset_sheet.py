import numpy as np

from lawam_ros.viz.dataset_sheet import course_bands, dataset_sheet


def test_bands_stretch_episodes_of_any_length_to_one_course() -> None:
    bands = course_bands([np.linspace(0.0, 1.0, 7), np.linspace(0.0, 1.0, 90) + 1.0, np.linspace(0.0, 1.0, 33) + 2.0])
    course = np.linspace(0.0, 1.0, bands.shape[1])
    for band, height in zip(bands, (0.0, 0.2, 1.0, 1.8, 2.0), strict=True):
        np.testing.assert_allclose(band, course + height, atol=1e-9)


def test_a_sheet_shows_tracks_and_pictures() -> None:
    red = np.zeros((24, 32, 3), dtype=np.uint8)
    red[..., 0] = 255
    plain = dataset_sheet([4.0, 5.0], {"arm/x": [np.zeros(9), np.ones(11)]}, {})
    sheet = dataset_sheet([4.0, 5.0], {"arm/x": [np.zeros(9), np.ones(11)]}, {"front": [red, red]})
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3 and sheet.shape[0] > plain.shape[0]
    pure = (sheet == [255, 0, 0]).all(axis=-1)
    assert pure.sum() > 1000 and not (plain == [255, 0, 0]).all(axis=-1).any()
