//! A static binary without any library of the system: it asks names itself, and speaks HTTP/1.1 by hand.
use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let mut stream = std::net::TcpStream::connect(("allowed.example", 8080))?;
    stream.write_all(b"GET /anything/static HTTP/1.1\r\nHost: allowed.example:8080\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    println!("static {}", if text.contains("/anything/static") { "ok" } else { &text });
    Ok(())
}
