//! Names: which may be asked for, and where they may lead.

use std::net::IpAddr;

use super::decide::USUAL;
use super::{NetworkJudge, Peer};
use crate::ranges::why;

impl NetworkJudge {
    /// May the name be asked for: is there a port at which it can be reached?
    ///
    /// # Errors
    /// Why not, in words.
    pub fn knows(&self, name: &str) -> Result<(), String> {
        let mut denied = None;
        let lines = self.naming().flat_map(|index| index.about(name).filter_map(|number| index.line(number)));
        for port in lines.filter_map(|line| line.port) {
            match self.deny.find(&Peer::Name(name), port, false) {
                None => return Ok(()),
                Some(number) => denied = self.deny.line(number),
            }
        }
        // Where nothing allows it: a rule that denies the port which a line would name says why no line helps.
        let usual = || self.deny.line(self.deny.find(&Peer::Name(name), USUAL, false)?);
        Err(denied
            .or_else(usual)
            .map_or_else(|| format!("no rule of `network.allow` covers `{name}`"), |line| line.by.clone()))
    }

    /// May a name that is allowed lead to this address?
    ///
    /// # Errors
    /// Why not, in words.
    pub fn vet(&self, name: &str, address: IpAddr, port: u16) -> Result<(), String> {
        let peer = Peer::Address(address);
        if let Some(line) = self.deny.find(&peer, port, false).and_then(|number| self.deny.line(number)) {
            return Err(format!("`{name}` leads to `{address}`: {}", line.by));
        }
        match why(address) {
            Some(what)
                if self.allow.find(&peer, port, true).is_none() && self.by_grant(&peer, port).is_none() =>
            {
                Err(format!("`{name}` leads to `{address}`, {what}"))
            }
            _ => Ok(()),
        }
    }
}
