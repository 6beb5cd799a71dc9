import librosa
import numpy as np
import pytest
from signals import RATE_HZ, SIGNALS

from jaxpara.errors import UserError
from jaxpara.features import MFCC


def librosa_mfcc(waveform: np.ndarray, orders: tuple[int, ...]) -> np.ndarray:
    """Return `[frame, coefficient]` from librosa itself."""
    still = librosa.feature.mfcc(y=waveform, sr=RATE_HZ, n_mfcc=30, n_fft=512, hop_length=160, center=False)
    return np.vstack([librosa.feature.delta(still, order=order) if order else still for order in orders]).T


@pytest.mark.parametrize("orders", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("name", SIGNALS)
def test_equal_to_librosa(orders: tuple[int, ...], name: str):
    ours = MFCC(orders=orders)(SIGNALS[name])
    assert ours.dtype == np.float32
    assert ours.shape == (97, 30 * len(orders))
    np.testing.assert_allclose(ours, librosa_mfcc(SIGNALS[name], orders), atol=1e-3, rtol=0)


def test_nine_frames_are_enough_for_derivatives_and_eight_are_not():
    waveform = SIGNALS["voice"][: 512 + 8 * 160]
    np.testing.assert_allclose(MFCC(orders=(2,))(waveform), librosa_mfcc(waveform, (2,)), atol=1e-3, rtol=0)
    with pytest.raises(UserError, match="are 8 frames, but derivatives need 9"):
        MFCC(orders=(0, 1))(waveform[:-1])
    assert MFCC()(waveform[:-1]).shape == (8, 30)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"orders": (3,)}, r"orders is \(3,\)"),
        ({"orders": ()}, r"orders is \(\)"),
        ({"coefficients": 129}, "coefficients is 129, expected 1 to 128"),
        ({"fmax_hz": 9000.0}, "fmax_hz <= 8000"),
    ],
)
def test_impossible_fields_are_refused(fields: dict, message: str):
    with pytest.raises(UserError, match=message):
        MFCC(**fields)


def test_frame_rate_is_that_of_the_spectrogram():
    assert MFCC(hop_s=0.005).frame_rate_hz == 200
