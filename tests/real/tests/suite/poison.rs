//! `read` and `temporary`: what one step leaves behind, the next one's build does not see.

use ringfence_real::world::World;

const SOURCE: &str =
    "#include \"answer.h\"\n#include <stdio.h>\nint main(void) { printf(\"%d\\n\", ANSWER); }\n";
const MAKEFILE: &str = "program: main.o\n\tcc -o $@ $^\nmain.o: main.c answer.h\n\tcc -c -o $@ main.c\n";

/// Everything a step can think of so that the next one builds something else. All of it may fail.
const POISON: &str = "
    echo '#define ANSWER 13' > answer.h; echo '#define ANSWER 13' > \"$SOURCES/answer.h\"
    printf 'program:\\n\\techo evil > program\\n' > Makefile; cp Makefile \"$SOURCES/Makefile\"
    for place in \"$TMPDIR/build\" target build; do
        mkdir -p $place && echo evil > $place/program && echo evil > $place/main.o
        touch -d '+1 day' $place/program $place/main.o
    done
    for place in ~/bin ~/.local/bin ~/.cargo/bin; do
        mkdir -p $place && printf '#!/bin/sh\\necho evil > program; echo evil > main.o\\n' > $place/cc
        chmod +x $place/cc
    done
    echo 'cc() { echo evil > program; }; export -f cc' | tee ~/.bashrc ~/.profile ~/.bash_profile >/dev/null
    mkdir -p ~/.config/gcc; echo evil > ~/.config/make
    for i in 1 2 3; do mkdir -p \"$TMPDIR/cc$i.dir\"; done
    ( trap '' HUP TERM; while sleep 0.05; do echo evil > \"$TMPDIR/build/program\"; done ) >/dev/null 2>&1 &
    POISONER=$!; disown
    test -z \"$STOP\" || kill -9 $POISONER
    true
";

/// Only inside, where it must not reach what it names.
const SYSTEM: &str = "
    printf '#!/bin/sh\\necho evil > program\\n' > /usr/local/bin/cc; ln -sf /bin/true /usr/bin/cc
    echo /tmp/evil.so > /etc/ld.so.preload; cp /bin/true /dev/shm/cc; echo evil > /var/tmp/build
    true
";

/// Builds from $SOURCES in $TMPDIR, and says what came out.
const BUILD: &str = "
    export PATH=~/bin:~/.local/bin:$PATH
    test -f ~/.bashrc && . ~/.bashrc
    mkdir -p \"$TMPDIR/build\" && cp -p --update \"$SOURCES\"/* \"$TMPDIR/build\" && cd \"$TMPDIR/build\" || exit 3
    make >/dev/null && sha256sum < program && sha256sum < main.o
";

fn prepared() -> World {
    let world = World::new();
    for place in [world.workspace.clone(), world.base.join("sources")] {
        world.write(place.join("main.c"), SOURCE);
        world.write(place.join("answer.h"), "#define ANSWER 42\n");
        world.write(place.join("Makefile"), MAKEFILE);
    }
    world
}

/// Without a boundary the poison works, or the other tests would show nothing.
#[test]
fn the_poison_works_outside() {
    let world = prepared();
    let place = format!(
        "export SOURCES='{}' TMPDIR='{}'; mkdir -p $TMPDIR\n",
        world.workspace.display(),
        world.base.join("tmp").display()
    );
    let clean = world.outside(&format!("{place}{BUILD}"));
    assert_eq!(clean.status, 0, "{clean:#?}");
    let _ = world.outside(&format!("{place}STOP=1{POISON}"));
    let poisoned = world.outside(&format!("{place}{BUILD}"));
    assert_ne!(clean.out, poisoned.out);
}

#[test]
fn a_step_in_read_cannot_poison_the_next() {
    let world = prepared();
    let lines = "[workspace]\nmode = \"read\"\n";
    cannot(&world, lines, &format!("export SOURCES='{}'\n", world.workspace.display()));
}

#[test]
fn a_step_in_temporary_cannot_poison_the_next() {
    let world = prepared();
    let sources = world.base.join("sources");
    let lines = format!("[workspace]\nmode = \"temporary\"\n[files]\nread = [\"{}\"]\n", sources.display());
    cannot(&world, &lines, &format!("export SOURCES='{}'\n", sources.display()));
}

fn cannot(world: &World, lines: &str, place: &str) {
    let build = format!("{place}{BUILD}");
    let clean = world.inside("default", lines, &build);
    assert_eq!((clean.status, clean.out.lines().count()), (0, 2), "{clean:#?}");
    let before = ringfence_real::tree::listing(&world.home);
    let poison = world.inside("default", lines, &format!("{place}{POISON}{SYSTEM}"));
    assert_eq!(poison.status, 0, "{poison:#?}");
    let next = world.inside("default", lines, &build);
    assert_eq!((next.status, &next.out), (0, &clean.out), "{next:#?}");
    assert_eq!(
        ringfence_real::tree::differences(&before, &ringfence_real::tree::listing(&world.home)),
        [""; 0]
    );
    // A clean build outside is the same one.
    let outside = world.outside(&format!("export TMPDIR='{}'; {build}", world.base.join("t").display()));
    assert_eq!(outside.out, clean.out, "{outside:#?}");
}
