//! Every operation as plain loops.
