//! Prints the JSON Schema of policy files; `cargo xtask generate` keeps it.

fn main() {
    println!("{:#}", ringfence_policy::schema());
}
