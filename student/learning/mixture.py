"""A teacher of continuous actions, a mixture of Gaussians (Eq. 1), and how far a Gaussian student is from it.

All divergences of a mixture Σ_k p_k N(μ_k, s²) from one Gaussian N(μ, σ²), all with diagonal covariances, depend on
no more of the mixture than its moments: the total w of its p_k, its mean m and variance v, and the options' own s. A
teacher's row is these side by side, 1 + 3A numbers; without advice it is zero.
"""

from math import log, pi

import numpy as np
import torch

from askonce.pipeline.tasks.task import Advice

# A student never strays less, so that it goes on exploring, nor counts a teacher as surer.
LEAST_DEVIATION = 0.02


def mixture(advice: Advice) -> np.ndarray:
    """Eq. 1 for options that are Gaussian policies: (N, 1 + 3A) float32, w, m, v and s of each environment.

    A decision whose options have all ended has no policy left to follow, and counts as no advice: a robot that waits for
    a wrong option to do something stands in the same place for the rest of its episode, and its student would learn from
    all of these steps to stand still there, even where the text and the advice are others (docs/methods.md).
    """
    probabilities = advice.probabilities
    if advice.ended is not None:
        probabilities = probabilities * ~advice.ended
    total = probabilities.sum(axis=1, keepdims=True)
    share = (probabilities / np.where(total > 0, total, 1))[..., None]
    mean = (share * advice.actions).sum(axis=1)
    spread = (share * (advice.actions - mean[:, None]) ** 2).sum(axis=1)
    deviation = np.broadcast_to(advice.deviation, mean.shape)
    columns = np.concatenate([total, mean, spread + deviation**2, deviation], axis=1)
    return (columns * (total > 0)).astype(np.float32)


def cross_entropy(teacher: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """E_s H(π_T ‖ π_θ) of Eq. 2: the mean over (B, …) rows of −log π_θ expected under the teacher, in closed form.

    It is exact for any mixture. States without advice are treated as in `distill.cross_entropy`.
    """
    total, wanted, variance, _ = moments(teacher)
    surprise = ((wanted - mean) ** 2 + variance) / (2 * deviation**2) + deviation.log() + log(2 * pi) / 2
    return (total * surprise).sum(-1).mean()


def wasserstein(teacher: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """The mean over (B, …) rows of MW2², the Wasserstein-type distance of Gaussian mixtures, squared.

    Where all decisions do the same it is W2² (Dowson and Landau 1982): |m − μ|² + |s − σ|². Of a true mixture and a
    Gaussian W2 has no closed form; Delon and Desolneux (2020) move only whole Gaussians, which gives
    Σ_k p_k W2²(N_k, π_θ) ≥ W2². States without advice are treated as in `distill.cross_entropy`.
    """
    total, wanted, variance, own = moments(teacher)
    # Σ_k p_k (|μ_k − μ|² + |s − σ|²) by v = Σ_k p_k |μ_k − m|² + s².
    moved = (wanted - mean) ** 2 + variance - 2 * own * deviation + deviation**2
    return (total * moved).sum(-1).mean()


def mahalanobis(teacher: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """The mean over (B, …) rows of the squared Mahalanobis distance of the student's mean from the mixture, and of as
    much for its deviation: Σ [(m − μ)² + (s − σ)²] / v.

    Beyond the paper (docs/methods.md). The mean of decisions that want different things is what none of them would do.
    Divided by the variance, as errors are in weighted least squares, it binds where they agree, and leaves the rest to
    the reward. States without advice are treated as in `distill.cross_entropy`.
    """
    total, wanted, variance, own = moments(teacher)
    apart = (wanted - mean) ** 2 + (own - deviation) ** 2
    return (total * apart / variance.clamp(min=LEAST_DEVIATION**2)).sum(-1).mean()


# By the name that --divergence takes.
DIVERGENCES = {"kl": cross_entropy, "wasserstein": wasserstein, "mahalanobis": mahalanobis}


def moments(teacher):
    """w (B, 1), and m, v and s, (B, A) each, of an array or a tensor."""
    size = (teacher.shape[-1] - 1) // 3
    return teacher[:, :1], *(teacher[:, 1 + part * size : 1 + (part + 1) * size] for part in range(3))
