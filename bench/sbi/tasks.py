"""Four public tasks of simulation-based inference and their exact posteriors.

Definitions: Lueckmann et al. 2021, "Benchmarking Simulation-Based Inference" (AISTATS), appendix T, and the
authors' package sbibm 1.1.0, whose first ten observations are in observations.json. A task gives rows of
parameters with simulated observables, and draws from the posterior of an observation that no network made.
"""

import json
from pathlib import Path

import numpy as np

OBSERVATIONS = json.loads(Path(__file__).with_name("observations.json").read_text())


class TwoMoons:
    name, parameters, observables = "two_moons", 2, 2
    prior = {"low": -1.0, "high": 1.0}

    def draw_prior(self, count, rng):
        return rng.uniform(-1, 1, (count, 2))

    def crescent(self, count, rng):
        angle = rng.uniform(-np.pi / 2, np.pi / 2, count)
        radius = rng.normal(0.1, 0.01, count)
        return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=1)

    def simulate(self, theta, rng):
        shift = np.stack([-np.abs(theta.sum(1)), theta[:, 1] - theta[:, 0]], axis=1) / np.sqrt(2)
        return self.crescent(len(theta), rng) + shift

    def reference(self, x, count, rng):
        # x = p + (-|u|, v) for u = (θ1 + θ2)/√2 and v = (θ2 - θ1)/√2, a rotation: so draws of p, a sign for u,
        # and rejection of p1 < x1 and of θ outside the prior are exact.
        kept = []
        while sum(map(len, kept)) < count:
            p = self.crescent(20 * count, rng)
            u = (p[:, 0] - x[0]) * rng.choice([-1, 1], len(p))
            v = x[1] - p[:, 1]
            theta = np.stack([u - v, u + v], axis=1) / np.sqrt(2)
            kept.append(theta[(p[:, 0] >= x[0]) & (np.abs(theta) <= 1).all(1)])
        return np.concatenate(kept)[:count]


class GaussianMixture:
    name, parameters, observables = "gaussian_mixture", 2, 2
    prior = {"low": -10.0, "high": 10.0}

    def draw_prior(self, count, rng):
        return rng.uniform(-10, 10, (count, 2))

    def simulate(self, theta, rng):
        scale = rng.choice([1.0, 0.1], (len(theta), 1))
        return theta + scale * rng.normal(size=theta.shape)

    def reference(self, x, count, rng):
        # Exact: the likelihood as a density of θ, and rejection outside the prior. Each component loses its own
        # share of draws, which is what the truncation does to its weight.
        kept = []
        while sum(map(len, kept)) < count:
            theta = self.simulate(np.tile(x, (4 * count, 1)), rng)
            kept.append(theta[(np.abs(theta) <= 10).all(1)])
        return np.concatenate(kept)[:count]


class GaussianLinear:
    name, parameters, observables = "gaussian_linear", 10, 10
    prior = {"mean": 0.0, "sd": float(np.sqrt(0.1))}

    def draw_prior(self, count, rng):
        return rng.normal(0, np.sqrt(0.1), (count, 10))

    def simulate(self, theta, rng):
        return theta + rng.normal(0, np.sqrt(0.1), theta.shape)

    def reference(self, x, count, rng):
        # Conjugate: precisions 10 and 10 add up.
        return np.asarray(x) / 2 + rng.normal(0, np.sqrt(0.05), (count, 10))


class Slcp:
    """Simple likelihood, complex posterior: four draws of a normal whose covariance is curved in θ."""

    name, parameters, observables = "slcp", 5, 8
    prior = {"low": -3.0, "high": 3.0}

    def draw_prior(self, count, rng):
        return rng.uniform(-3, 3, (count, 5))

    def moments(self, theta):
        # The authors add 1e-6 to the variances.
        a, b, rho = theta[:, 2] ** 2, theta[:, 3] ** 2, np.tanh(theta[:, 4])
        return a**2 + 1e-6, b**2 + 1e-6, rho * a * b

    def simulate(self, theta, rng):
        first, second, both = self.moments(theta)
        noise = rng.normal(size=(len(theta), 4, 2))
        left = np.sqrt(first)[:, None]
        across = both[:, None] / left
        rest = np.sqrt(second[:, None] - across**2)
        x = theta[:, None, 0] + left * noise[:, :, 0]
        y = theta[:, None, 1] + across * noise[:, :, 0] + rest * noise[:, :, 1]
        return np.stack([x, y], axis=2).reshape(len(theta), 8)

    def log_likelihood(self, theta, x):
        first, second, both = self.moments(theta)
        determinant = first * second - both**2
        points = np.asarray(x).reshape(4, 2)
        dx = points[:, 0] - theta[:, None, 0]
        dy = points[:, 1] - theta[:, None, 1]
        square = second[:, None] * dx**2 - 2 * both[:, None] * dx * dy + first[:, None] * dy**2
        return -0.5 * square.sum(1) / determinant - 2 * np.log(determinant)

    def log_posterior(self, theta, x):
        with np.errstate(all="ignore"):
            value = self.log_likelihood(theta, x)
        return np.where((np.abs(theta) <= 3).all(1) & np.isfinite(value), value, -np.inf)

    def population(self, x, count, rng):
        """Draws near the posterior: annealed from the prior, resampled and moved at each temperature."""
        theta = self.draw_prior(count, rng)
        theta[:, 2:4] = np.abs(theta[:, 2:4])
        value, power = self.log_posterior(theta, x), 0.0
        while power < 1:
            # The next temperature leaves half of the effective sample.
            low, high = power, 1.0
            weigh = lambda p: np.exp((p - power) * (value - value.max()))
            ess = lambda w: w.sum() ** 2 / (w**2).sum()
            if ess(weigh(1.0)) < count / 2:
                for _ in range(40):
                    middle = (low + high) / 2
                    low, high = (middle, high) if ess(weigh(middle)) > count / 2 else (low, middle)
            weights = weigh(high)
            chosen = rng.choice(count, count, p=weights / weights.sum())
            theta, value, power = theta[chosen], value[chosen], high
            theta, value = self.move(theta, value, (x, power, 12), rng)
        return theta, value

    def move(self, theta, value, task, rng):
        """Metropolis steps by differences of other draws (ter Braak 2006), |θ3| and |θ4| reflected at 0."""
        x, power, steps = task
        count = len(theta)
        for step in range(steps):
            halves = np.array_split(rng.permutation(count), 2)
            # Partners come from the half that rests, so that each step leaves the law as it is.
            for moved, rest in (halves, halves[::-1]):
                a, b = rng.choice(rest, (2, len(moved)))
                size = (1.0, 0.7, 0.3, 0.1)[step % 4]
                proposal = theta[moved] + size * (theta[a] - theta[b])
                proposal += 1e-3 * rng.normal(size=proposal.shape)
                proposal[:, 2:4] = np.abs(proposal[:, 2:4])
                new = self.log_posterior(proposal, x)
                accepted = np.log(rng.random(len(moved))) < power * (new - value[moved])
                theta[moved[accepted]] = proposal[accepted]
                value[moved[accepted]] = new[accepted]
        return theta, value

    def reference(self, x, count, rng):
        theta, value = self.population(x, count, rng)
        theta, _ = self.move(theta, value, (x, 1.0, 200), rng)
        # The density depends on θ3² and θ4² only.
        theta[:, 2:4] *= rng.choice([-1, 1], (count, 2))
        return theta

    def rejection(self, x, draws, rng):
        """Exact draws, few: prior draws, kept with likelihood over its bound, that of the best normal."""
        points = np.asarray(x).reshape(4, 2)
        best = np.cov(points.T, bias=True)
        bound = -4.0 - 2 * np.log(np.linalg.det(best))
        kept = []
        for _ in range(0, draws, 1_000_000):
            theta = self.draw_prior(1_000_000, rng)
            kept.append(theta[np.log(rng.random(len(theta))) < self.log_posterior(theta, x) - bound])
        return np.concatenate(kept)


TASKS = {task.name: task for task in (TwoMoons(), GaussianMixture(), GaussianLinear(), Slcp())}
