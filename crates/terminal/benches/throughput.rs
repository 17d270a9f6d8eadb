//! How fast the filter is: `cargo bench -p ringfence-terminal`. Targets: 1,000 MB/s of plain text, 150 MB/s of coloured.

use std::time::Instant;

use ringfence_terminal::Filter;

/// Bytes of one kind of output a measurement moves.
const TOTAL: usize = 1 << 30;
/// What a relay reads at a time.
const PIECE: usize = 64 << 10;

fn measure(name: &str, line: &str) -> f64 {
    let data = line.repeat((PIECE * 16).div_ceil(line.len()));
    let (mut filter, mut output) = (Filter::new(), Vec::with_capacity(PIECE * 2));
    let (start, mut moved) = (Instant::now(), 0);
    while moved < TOTAL {
        for piece in data.as_bytes().chunks(PIECE) {
            output.clear();
            filter.push(piece, &mut output);
        }
        moved += data.len();
    }
    let rate = moved as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!("{name}: {rate:.0} MB/s");
    rate
}

fn main() {
    // Tests build benches too and run them without optimisation: that measures nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let plain = measure("ASCII", "The quick brown fox jumps over the lazy dog, again and again and again.\n");
    let _ = measure("Cyrillic", "Съешь же ещё этих мягких французских булок, да выпей чаю.\n");
    let _ = measure("French", "« Voix ambiguë d’un cœur » qui, au zéphyr, préfère les jattes de kiwis.\n");
    let ls = "\x1b[01;34mdirectory\x1b[0m  \x1b[01;32mprogram\x1b[0m  file.txt  \x1b[01;36mlink\x1b[0m\n";
    let coloured = measure("ls --color", ls);
    let _ = measure("every character coloured", "\x1b[38;2;10;20;30;48;2;40;50;60m#");
    let _ = measure("pictures", &format!("\x1bPq{}\x1b\\", "#0;2;0;0;0~~@@vv@@~~$".repeat(400)));
    let _ = measure("titles", "\x1b]0;a title\x07text\n");
    if plain < 1000.0 || coloured < 150.0 {
        println!("a target was missed");
    }
}
