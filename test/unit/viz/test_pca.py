"""Features as colours: what the basis is, and that colours keep their meaning."""

import numpy as np
import pytest

from lawam_ros.viz.pca import colours, fit_basis


@pytest.fixture
def tokens():
    return np.random.default_rng(0).normal(size=(12, 20)).astype(np.float32) * np.linspace(3, 0.1, 20, dtype=np.float32)


def test_basis_holds_the_strongest_directions(tokens):
    basis = fit_basis(tokens)
    np.testing.assert_allclose(basis.components.T @ basis.components, np.eye(3), atol=1e-5)
    projected = (tokens - basis.mean) @ basis.components
    np.testing.assert_allclose(projected.std(axis=0) / basis.scale, 1.0, rtol=1e-4)
    values = np.linalg.eigvalsh(np.cov(tokens.T, ddof=0))[::-1][:3]
    np.testing.assert_allclose(basis.scale**2, values, rtol=1e-3)


def test_colours(tokens):
    basis = fit_basis(tokens)
    picture = colours(tokens, basis, (3, 4))
    assert picture.shape == (3, 4, 3) and picture.dtype == np.uint8
    assert set(colours(np.tile(basis.mean, (12, 1)), basis, (3, 4)).flat) <= {127, 128}
    along = basis.mean + 2.0 * basis.scale[1] * basis.components[:, 1]
    # 243 = 255 / (1 + exp(-1.5 * 2)); halves round either way.
    np.testing.assert_allclose(colours(along[None], basis, (1, 1))[0, 0].astype(float), [127.5, 243, 127.5], atol=0.5)


def test_too_few_tokens(tokens):
    with pytest.raises(ValueError, match="at least 3 tokens"):
        fit_basis(tokens[:2])
