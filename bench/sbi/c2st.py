"""How well a classifier tells two samples apart: 0.5 if it cannot, 1 if always.

As in sbibm 1.1.0 (`metrics/c2st.py`): both samples standardised by the first one's moments, a perceptron of two
hidden layers of ten units a dimension, mean accuracy over five shuffled folds.
"""

import numpy as np
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier


def c2st(reference, draws, seed=1):
    assert reference.shape == draws.shape, (reference.shape, draws.shape)
    mean, sd = reference.mean(0), reference.std(0, ddof=1)
    width = 10 * reference.shape[1]
    classifier = MLPClassifier(hidden_layer_sizes=(width, width), max_iter=10_000, random_state=seed)
    data = (np.concatenate([reference, draws]) - mean) / sd
    target = np.repeat([0, 1], len(reference))
    folds = KFold(n_splits=5, shuffle=True, random_state=seed)
    return float(np.mean(cross_val_score(classifier, data, target, cv=folds, scoring="accuracy")))
