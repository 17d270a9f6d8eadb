//! Secrets by their forms: placeholders that look like them, and finding them in what leaves. Nothing here touches the host.

#![forbid(unsafe_code)]

mod beginnings;
mod encodings;
mod formats;
mod loose;
mod masking;
mod pairs;
mod percent;
mod placeholder;
mod random;
mod scan;
mod texts;
mod values;

pub use formats::{Format, formats};
pub use masking::Masking;
pub use pairs::pairs;
pub use percent::percent_decoded;
pub use placeholder::{password, placeholder};
pub use random::{looks_random, random_words};
pub use scan::{Hit, Known, Scanner, Stream};
pub use values::{is_password, passwords_in_addresses, secret_values};
