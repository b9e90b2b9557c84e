import numpy as np
from scipy import stats


def answer(a, b, people):
    """The person is the unit: other people would have other differences. So each counts the same."""
    differences = np.array([(b - a)[people == person].mean() for person in np.unique(people)])
    n = len(differences)
    return differences.mean(), stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)
