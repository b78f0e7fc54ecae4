"""A Gaussian process on the square roots of the weights: Matern 5/2 with a length a domain, plus a linear part.

k(x, z) = s^2 (1 + r + r^2 / 3) exp(-r) + l^2 (1 + x.z / D) and noise t^2 on the diagonal, with r^2 = 5 sum_j ((x_j -
z_j) / length_j)^2 (Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", 4.17). The square root
spreads out the small weights, where losses move most. Parameters are the mode under a wide prior, found by L-BFGS on
the exact gradient. It says how sure it is, which the power law cannot.

N runs, M mixtures asked about, D domains, P = 3 + D parameters: log s, log t, log l, log length_j.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.mixture.regress.arrays import Array, Places, Scale
from pipeline.mixture.regress.extra import library

_JITTER = 1e-8
_LEAST_SPREAD = 0.05  # of a domain's roots: one that no run has must not be blown up by its own absence
_MAX_STEPS, _LAST_STEPS, _HALVED_ABOVE = 60, 15, 200
_CHUNK = 4096
_REFIT_BELOW = 256
"""With fewer runs than this, parameters are found anew without each fold; with more, a fold hardly moves them."""


@dataclass(frozen=True, slots=True)
class Process:
    """A fitted process: its parameters, and the runs that it remembers."""

    parameters_P: Array
    centre_D: Array
    spread_D: Array
    scale: Scale
    seen_ND: Array
    inverse_NN: Array
    answers_N: Array

    def predict(self, weights_MD: Array) -> Array:
        """Return the expected loss of each mixture, [M]."""
        parts = [weights_MD[at : at + _CHUNK] for at in range(0, len(weights_MD), _CHUNK)]
        across = (_kernel(self._inputs(part), self.seen_ND, self.parameters_P) for part in parts)
        return self.scale.up(np.concatenate([np.empty(0), *(part_MN @ self.answers_N for part_MN in across)]))

    def with_spread(self, weights_MD: Array) -> tuple[Array, Array]:
        """Return the expected loss of each mixture and the standard deviation of a run of it, noise included, [M]."""
        parts = [self._chunk(weights_MD[at : at + _CHUNK]) for at in range(0, len(weights_MD), _CHUNK)]
        if not parts:
            return np.empty(0), np.empty(0)
        return np.concatenate([mean for mean, _ in parts]), np.concatenate([spread for _, spread in parts])

    def noise(self) -> float:
        """Return the standard deviation of the noise that the process sees between runs of one mixture."""
        return float(self.scale.spread * np.exp(self.parameters_P[1]))

    def joined(self, weights_MD: Array) -> Array:
        """Return the covariance of the losses of some mixtures given the runs, noise left out, [M, M]."""
        inputs_MD = self._inputs(weights_MD)
        across_MN = _kernel(inputs_MD, self.seen_ND, self.parameters_P)
        own_MM = _kernel(inputs_MD, inputs_MD, self.parameters_P)
        return self.scale.spread**2 * (own_MM - across_MN @ self.inverse_NN @ across_MN.T)

    def state(self) -> dict[str, Any]:
        """Return the parameters as JSON; the runs are kept by whoever restores."""
        return {"parameters": self.parameters_P.tolist()}

    def _chunk(self, weights_MD: Array) -> tuple[Array, Array]:
        inputs_MD, p = self._inputs(weights_MD), self.parameters_P
        across_MN = _kernel(inputs_MD, self.seen_ND, p)
        own_M = np.exp(2 * p[0]) + np.exp(2 * p[2]) * (1 + (inputs_MD**2).mean(1)) + np.exp(2 * p[1])
        known_M = np.einsum("mn,mn->m", across_MN @ self.inverse_NN, across_MN)
        spread_M = self.scale.spread * np.sqrt(np.maximum(own_M - known_M, np.exp(2 * p[1])))
        return self.scale.up(across_MN @ self.answers_N), spread_M

    def _inputs(self, weights_MD: Array) -> Array:
        return (np.sqrt(np.maximum(weights_MD, 0)) - self.centre_D) / self.spread_D


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a process fitted without a run's fold says of the run: the expected loss and its deviation, [N]."""

    mean_N: Array
    spread_N: Array


def fit(weights_ND: Array, losses_N: Array, folds_N: Places) -> tuple[Process, HeldOut]:
    """Return the process, and what processes without each fold say of that fold's runs."""
    process = restore(weights_ND, losses_N, _search(weights_ND, losses_N))
    mean_N, spread_N = np.empty(len(losses_N)), np.empty(len(losses_N))
    for fold in range(int(folds_N.max()) + 1):
        out = folds_N == fold
        parameters_P = process.parameters_P
        if len(losses_N) < _REFIT_BELOW:
            parameters_P = _search(weights_ND[~out], losses_N[~out])
        without = restore(weights_ND[~out], losses_N[~out], parameters_P)
        mean_N[out], spread_N[out] = without.with_spread(weights_ND[out])
    return process, HeldOut(mean_N, spread_N)


def restore(weights_ND: Array, losses_N: Array, parameters_P: Array) -> Process:
    """Return the process that has these parameters and has seen these runs."""
    scale, roots_ND = Scale.of(losses_N), np.sqrt(weights_ND)
    centre_D, spread_D = roots_ND.mean(0), np.maximum(roots_ND.std(0), _LEAST_SPREAD)
    inputs_ND = (roots_ND - centre_D) / spread_D
    covariance_NN = _kernel(inputs_ND, inputs_ND, parameters_P)
    covariance_NN[np.diag_indices(len(inputs_ND))] += np.exp(2 * parameters_P[1]) + _JITTER
    inverse_NN = _inverse(np.linalg.cholesky(covariance_NN))
    return Process(parameters_P, centre_D, spread_D, scale, inputs_ND, inverse_NN, inverse_NN @ scale.down(losses_N))


def _start(domains: int) -> Array:
    return np.r_[0.0, np.log(0.1), np.log(0.5), np.full(domains, np.log(1.5 * np.sqrt(domains)))]


def _search(weights_ND: Array, losses_N: Array) -> Array:
    """Return the parameters at the mode: of many runs first by a half of them, then by a few steps with all."""
    start_P, steps = _start(weights_ND.shape[1]), _MAX_STEPS
    if len(losses_N) > _HALVED_ABOVE:
        start_P, steps = _climb(weights_ND[::2], losses_N[::2], start_P, steps), _LAST_STEPS
    return _climb(weights_ND, losses_N, start_P, steps)


def _climb(weights_ND: Array, losses_N: Array, start_P: Array, steps: int) -> Array:
    roots_ND = np.sqrt(weights_ND)
    inputs_ND = (roots_ND - roots_ND.mean(0)) / np.maximum(roots_ND.std(0), _LEAST_SPREAD)
    y_N = Scale.of(losses_N).down(losses_N)
    bounds = [(-4.0, 4.0), (np.log(1e-3), np.log(2.0)), (-6.0, 4.0), *[(-4.0, 8.0)] * inputs_ND.shape[1]]
    found = library("scipy.optimize").minimize(
        _loss,
        start_P,
        (inputs_ND, y_N, _start(inputs_ND.shape[1])),
        "L-BFGS-B",
        jac=True,
        bounds=bounds,
        options={"maxiter": steps},
    )
    return np.asarray(found.x, float)


def _loss(p: Array, inputs_ND: Array, y_N: Array, centre_P: Array) -> tuple[float, Array]:
    """Return the negative log of the marginal likelihood times the prior, and its gradient [P]."""
    count, domains = inputs_ND.shape
    scaled_ND = inputs_ND / np.exp(p[3:])
    distance_NN = np.sqrt(5 * _squares(scaled_ND, scaled_ND))
    decay_NN = np.exp(2 * p[0] - distance_NN)
    matern_NN = (1 + distance_NN + distance_NN**2 / 3) * decay_NN
    linear_NN = np.exp(2 * p[2]) * (1 + inputs_ND @ inputs_ND.T / domains)
    covariance_NN = matern_NN + linear_NN
    covariance_NN[np.diag_indices(count)] += np.exp(2 * p[1]) + _JITTER
    try:
        root_NN = np.linalg.cholesky(covariance_NN)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(p)
    inverse_NN = _inverse(root_NN)
    answers_N = inverse_NN @ y_N
    pull_NN = inverse_NN - np.outer(answers_N, answers_N)
    gradient = np.empty_like(p)
    gradient[0] = float((pull_NN * matern_NN).sum())
    gradient[1] = float(np.trace(pull_NN)) * np.exp(2 * p[1])
    gradient[2] = float((pull_NN * linear_NN).sum())
    bend_NN = pull_NN * (5 / 3 * (1 + distance_NN) * decay_NN)
    # sum_ab B_ab (x_aj - x_bj)^2, for a symmetric B, without an array of N x N x D.
    gradient[3:] = bend_NN.sum(1) @ scaled_ND**2 - np.einsum("aj,aj->j", scaled_ND, bend_NN @ scaled_ND)
    value = 0.5 * float(y_N @ answers_N) + float(np.log(np.diag(root_NN)).sum())
    width_P = np.r_[np.inf, 1.5, np.inf, np.full(domains, 1.5)]
    prior_P = (p - np.r_[0.0, np.log(0.05), 0.0, centre_P[3:]]) / width_P
    return value + 0.5 * float(prior_P @ prior_P), gradient + prior_P / width_P


def _kernel(x_MD: Array, z_ND: Array, p: Array) -> Array:
    lengths_D = np.exp(p[3:])
    distance_MN = np.sqrt(5 * _squares(x_MD / lengths_D, z_ND / lengths_D))
    matern_MN = np.exp(2 * p[0] - distance_MN) * (1 + distance_MN + distance_MN**2 / 3)
    covariance_MN: Array = matern_MN + np.exp(2 * p[2]) * (1 + x_MD @ z_ND.T / x_MD.shape[1])
    return covariance_MN


def _squares(x_MD: Array, z_ND: Array) -> Array:
    return np.maximum((x_MD**2).sum(1)[:, None] + (z_ND**2).sum(1) - 2 * x_MD @ z_ND.T, 0)


def _inverse(root_NN: Any) -> Array:
    """Return the inverse of the matrix whose lower Cholesky factor is given."""
    inverse_NN, _ = library("scipy.linalg.lapack").dpotri(root_NN, lower=1)
    lower_NN = np.tril(inverse_NN)
    whole_NN: Array = lower_NN + np.tril(lower_NN, -1).T
    return whole_NN
