//! The filter through its public interface (one binary: one link).

#![forbid(unsafe_code)]

#[cfg(test)]
mod suite {
    mod captures;
    mod checker;
    mod leftovers;
    mod properties;
    mod sequences;
    mod strings;
    mod text;

    use ringfence_terminal::{Filter, Kind};

    /// One push, without the end.
    pub(crate) fn pushed(input: &[u8]) -> (Vec<u8>, Vec<(Kind, u64)>) {
        let (mut filter, mut output) = (Filter::new(), Vec::new());
        filter.push(input, &mut output);
        (output, filter.removed().collect())
    }

    /// The whole stream.
    pub(crate) fn filtered(input: &[u8]) -> Vec<u8> {
        let (mut filter, mut output) = (Filter::new(), Vec::new());
        filter.push(input, &mut output);
        filter.finish(&mut output);
        output
    }

    pub(crate) fn shown(bytes: &[u8]) -> String {
        bytes.escape_ascii().to_string()
    }
}
