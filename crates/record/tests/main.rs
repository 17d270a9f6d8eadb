//! The files of a run, through the public interface (one binary: one link).

#![forbid(unsafe_code)]

#[cfg(test)]
mod suite {
    mod events;
    mod state;
}
