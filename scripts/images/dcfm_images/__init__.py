"""Colored MNIST: digits in colours, the image benchmark of decentralized compositional flow matching."""
