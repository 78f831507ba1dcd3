"""Measures of generated and reconstructed images: FID, Inception Score and LPIPS.

They are computed by networks of the zoo, and are the numbers of the authors' PyTorch packages.
"""

from zoo.metrics.fid import fid, image_statistics
from zoo.metrics.frechet import Statistics, frechet_distance, statistics
from zoo.metrics.inception_score import Score, inception_score
from zoo.metrics.perceptual import lpips

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
