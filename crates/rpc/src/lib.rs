//! Wire conventions: error catalogue, step metadata, outcome classification, channels, deadlines.
