//! Names and the addresses that stand for them in one sandbox: each name has one, for the sandbox's life.

use std::collections::HashMap;
use std::net::Ipv4Addr;

/// 198.18.0.0/15 (RFC 2544) without its first 256 addresses, of which one is the resolver's.
const FIRST: u32 = 0xc612_0100;
const LAST: u32 = 0xc613_ffff;

/// The addresses given so far.
#[derive(Clone, Debug, Default)]
pub struct Names {
    addresses: HashMap<String, Ipv4Addr>,
    names: Vec<String>,
}

impl Names {
    /// Names that the policy writes out have their address from the start, in their order: no flood of others takes it, and
    /// whoever knows the rules knows the address.
    pub fn new<'a>(written: impl Iterator<Item = &'a str>) -> Self {
        let mut names = Self::default();
        for name in written {
            let _ = names.address(name);
        }
        names
    }

    /// The address of a name, a new one if it has none yet; `None`: all are given.
    pub fn address(&mut self, name: &str) -> Option<Ipv4Addr> {
        if let Some(address) = self.addresses.get(name) {
            return Some(*address);
        }
        let next = FIRST.checked_add(u32::try_from(self.names.len()).ok()?).filter(|next| *next <= LAST)?;
        let address = Ipv4Addr::from_bits(next);
        self.names.push(name.to_owned());
        self.addresses.insert(name.to_owned(), address);
        Some(address)
    }

    /// The name that an address was given to.
    pub fn name(&self, address: Ipv4Addr) -> Option<&str> {
        let number = address.to_bits().checked_sub(FIRST)?;
        self.names.get(usize::try_from(number).ok()?).map(String::as_str)
    }

    /// Is it one of those that are given to names?
    pub fn is_one(address: Ipv4Addr) -> bool {
        (FIRST & 0xfffe_0000..=LAST).contains(&address.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_one_name() {
        let mut names = Names::new(["a.example", "b.example"].into_iter());
        let address = names.address("a.example").unwrap();
        assert_eq!(address, Ipv4Addr::new(198, 18, 1, 0));
        assert_eq!(names.address("b.example"), Some(Ipv4Addr::new(198, 18, 1, 1)));
        assert_eq!(names.name(address), Some("a.example"));
        assert_eq!(names.name(Ipv4Addr::new(198, 18, 1, 2)), None);
        assert_eq!(names.name(Ipv4Addr::new(10, 0, 0, 1)), None);
        assert!(
            Names::is_one(Ipv4Addr::new(198, 19, 255, 255)) && Names::is_one(Ipv4Addr::new(198, 18, 0, 1))
        );
        assert!(!Names::is_one(Ipv4Addr::new(198, 20, 0, 0)) && !Names::is_one(Ipv4Addr::new(198, 17, 0, 0)));
    }

    #[test]
    fn when_all_are_given_none_is_given_again() {
        let mut names = Names::default();
        let most = LAST - FIRST + 1;
        for number in 0..most {
            assert!(names.address(&number.to_string()).is_some());
        }
        assert_eq!(names.address("more"), None);
        assert_eq!(names.address("0"), Some(Ipv4Addr::from_bits(FIRST)));
        assert_eq!(names.name(Ipv4Addr::from_bits(LAST)), Some((most - 1).to_string().as_str()));
    }
}
