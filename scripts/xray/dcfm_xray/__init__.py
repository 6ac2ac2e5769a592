"""Chest X-rays: disease co-occurrence (Section 6.3) as a benchmark of decentralized compositional flow matching."""
