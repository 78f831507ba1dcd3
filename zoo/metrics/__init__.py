"""Measures of generated and reconstructed images: FID, Inception Score and LPIPS.

They are computed by networks of the zoo, and are the numbers of the authors' PyTorch packages.
"""

from zoo.metrics.distance import fid, image_statistics
from zoo.metrics.frechet import Statistics, frechet_distance, statistics
from zoo.metrics.perceptual import lpips
from zoo.metrics.score import Score, inception_score

__all__ = [
    "Score",
    "Statistics",
    "fid",
    "frechet_distance",
    "image_statistics",
    "inception_score",
    "lpips",
    "statistics",
]
