"""How much each noise level counts in the loss w(t)·‖D(x_t) - x0‖².

A new weighting is a function of (point, c_out, sigma_data) and a line in WEIGHTINGS. What a paper states for the error
of eps, of the score or of v stands here for the error of x0.
"""

from collections.abc import Callable

from torch import Tensor

from rediffuse.diffusion.process import Point

Weighting = Callable[..., Tensor]
"""(path at times B, c_out of the network's prediction, sigma_data, its own settings) -> w, B."""


def plain(at: Point, c_out: Tensor, sigma_data: float) -> Tensor:  # noqa: ARG001
    """1 / c_out²: the plain error of what the network predicts.

    For eps this is SNR (L_simple; Ho et al., 2020, eq. 14), for v on a variance-preserving path SNR + 1 (Salimans & Ho,
    2022), for the velocity of straight paths 1 / t² (Lipman et al., 2023).
    """
    return c_out**-2


def snr(at: Point, c_out: Tensor, sigma_data: float) -> Tensor:  # noqa: ARG001
    """SNR: the plain error of eps, whatever the network predicts."""
    return at.snr


def min_snr(at: Point, c_out: Tensor, sigma_data: float, *, gamma: float = 5.0) -> Tensor:  # noqa: ARG001
    """min(SNR, γ) (Hang et al., 2023, section 3.4)."""
    return at.snr.clamp(max=gamma)


def edm(at: Point, c_out: Tensor, sigma_data: float) -> Tensor:  # noqa: ARG001
    """(σ̃² + sigma_data²) / (σ̃·sigma_data)² (Karras et al., 2022, table 1)."""
    return (at.noise_to_signal**2 + sigma_data**2) / (at.noise_to_signal * sigma_data) ** 2


def likelihood(at: Point, c_out: Tensor, sigma_data: float) -> Tensor:  # noqa: ARG001
    """½·(-dSNR/dt), with times drawn uniformly: the variational bound (Kingma et al., 2021, eq. 17)."""
    return -at.snr * at.log_snr_rate / 2


def ncsn(at: Point, c_out: Tensor, sigma_data: float) -> Tensor:  # noqa: ARG001
    """λ(σ) = σ² on the error of the score, whose factor is alpha/sigma² (Song & Ermon, 2019, eq. 6); equal to SNR."""
    return at.sigma**2 * (at.alpha / at.sigma**2) ** 2


def sigmoid(at: Point, c_out: Tensor, sigma_data: float, *, bias: float = 2.0) -> Tensor:  # noqa: ARG001
    """sigmoid(b - λ) on the error of eps, uniform in λ by -dλ/dt: e^b·sigmoid(λ - b)·(-dλ/dt) (Kingma & Gao, 2023)."""
    return -at.log_snr_rate * at.snr * (bias - at.log_snr).sigmoid()


WEIGHTINGS: dict[str, Weighting] = {
    "plain": plain,
    "snr": snr,
    "min_snr": min_snr,
    "edm": edm,
    "likelihood": likelihood,
    "ncsn": ncsn,
    "sigmoid": sigmoid,
    # EDM's, which `uncertainty.Uncertainty` then balances while it learns.
    "edm2": edm,
}
