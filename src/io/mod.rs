//! Files in and out. Knows nothing of networks.
