use super::*;

pub(super) fn refused(line: &str) -> bool {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    Shells::new(None).judge(words[0], &words[1..], b"/w").is_err()
}

#[test]
fn the_list_can_be_read() {
    assert!(list().len() > 15);
}

#[test]
fn code_on_a_command_line_is_seen() {
    for line in [
        "sh -c id",
        "sh x",
        "bash",
        "-bash",
        "zsh-5.9",
        "python3 -c 1",
        "python3.11 -Ic 1",
        "node inspect x.js",
        "node --title x -e 1",
        "node --test-reporter dot -e 1",
        "python3 --check-hash-based-pycs default -c 1",
        "python3 -m runpy timeit 1",
        "python3 //dev/stdin",
        "python3 /./dev/stdin",
        "python3 ../dev/stdin",
        "python3 ../proc/self/fd/0",
        "make -f ../dev/stdin",
        "make X:=$(eval 1)",
        "make SHELL:=/x",
        "sed --fil=/dev/stdin x",
        "sed --expr=1eid x",
        "sed --line-l 5 1eid x",
        "node --experimental_loader x y.js",
        "node --debug-port 9 -e 1",
        "node --input_type module -e 1",
        "vim -Xe x",
        "vim -nes x",
        "perl -F/x/ x.pl",
        "ruby --disable gems -e 1",
        "guile -L d -c 1",
        "gawk -f x.awk -be 1",
        "gawk -f x.awk --sour 1",
        "sed -l 5 1eid x",
        "gdb -nx -q",
        "ex x",
        "env -iS id",
        "make -nE x",
        "make -sf-",
        "make -f /dev/fd/0",
        "tar -cIid x",
        "node --inspect-brk=127.0.0.1:0 x.js",
        "nodejs debug localhost:9229",
        "python3 -",
        "python3",
        "python3 -W error",
        "python3 -m timeit 1",
        "python3 -mcode",
        "python3 /dev/stdin",
        "python3 /proc/self/fd/0",
        "perl -e 1",
        "perl -ne 1",
        "perl -Mbase x",
        "ruby -e 1",
        "node -e 1",
        "node --eval=1",
        "node --ev 1",
        "nodejs -pe 1",
        "node",
        "php -r 1",
        "php -d auto_prepend_file=x y",
        "lua -e 1",
        "env -S sh",
        "find . -exec id ;",
        "tar --to-command=id x",
        "tar --to-com id",
        "make --eval=x:",
        "make SHELL=/x",
        "git -c alias.x=!id x",
        "git --config-env=a=b x",
        "ssh -oProxyCommand=id h",
        "ssh -o ProxyCommand=id h",
        "xargs id",
        "vim +!id",
        "vim -c :!id",
        "gdb -ex x",
        "phpdbg8.2 -s",
        "phpdbg -qrr x.php",
        "newlisp -s 4000 -e 1",
        "newlisp x.lsp -e 1",
        "awk BEGIN{system(\"id\")}",
        "gawk -f x -e y",
        "gawk -f /dev/stdin",
        "sed s/a/b/e x",
        "sed 1e x",
        "sed -n -e 1eid x",
        "busybox sh",
        "deno eval x",
    ] {
        assert!(refused(line), "{line}");
    }
}

/// Most of these are scripts, and judged by the script's name.
#[test]
fn code_that_a_script_is_handed_is_seen() {
    let judged = |line: &str| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Shells::new(None).judge_script(words[0], &words[1..], b"/w").is_err()
    };
    for line in [
        "cpan",
        "cpan -w",
        "cpan -f",
        "cpan -j /dev/stdin X",
        "cpan5.36-x86_64-linux-gnu",
        "gem exec irb",
        "gem --config-file x ex irb",
        "bundle exec irb",
        "bundle e irb",
        "bundle console",
        "rails runner 1",
        "rails c",
        "rake -e 1",
        "rake x -p 1",
        "rake -qe 1",
        "rake --exec 1",
        "rake -f /dev/stdin",
        "rake -f/dev/stdin",
        "iex -S mix",
    ] {
        assert!(judged(line), "{line}");
    }
    for line in [
        "cpan -v",
        "cpan -l",
        "cpan App::x",
        "cpan -fi App::x",
        "cpan -j ./x.pm -l",
        "gem install exec",
        "bundle install",
        "rails test",
        "rake test",
        "rake -f x.rake -j 4 e",
        "pip install exec",
        "python3 -c 1",
    ] {
        assert!(!judged(line), "{line}");
    }
}

#[test]
fn code_from_an_input_or_behind_another_option_is_seen() {
    for line in [
        "js140 -e 1",
        "node20 -e 1",
        "ghc Main.hs -e main",
        "php8.2 -n -t . -r 1",
        "php -n -Q x -r 1",
        "php-cgi8.2 -d auto_prepend_file=/dev/stdin",
        "luajit -j on -e 1",
        "ruby3.1 -X . -e 1",
        "ruby3.1 -x -e 1",
        "sbcl --core F --eval 1",
        "julia --startup-file no -e 1",
        "swipl -f none -g 1",
        "racket -I x -e 1",
        "octave-cli --path x --eval 1",
        "deno -L info eval 1",
        "deno",
        "node-20 -e 1",
        "tcc -run -",
        "python3 -- -",
        "python3 -I -- -",
        "perl -- -",
        "perl -w -- /dev/stdin",
        "node -- -",
        "python3 -m doctest /dev/stdin",
        "python3 -mdoctest -v /dev/fd/0",
        "node -r /dev/stdin x.js",
        "node --require=/dev/stdin x.js",
        "node --test-reporter=data:text/javascript,1 x.js",
        "node --test-reporter data:text/javascript,1 --test",
        "node --env_file=/dev/stdin x.js",
        "ruby -r/dev/stdin x.rb",
        "php -c /dev/stdin x.php",
        "make MAKEFILES=/dev/stdin",
        "make MAKEFILES:=x",
        "make X!=id",
        "make MAKEFLAGS=--eval=x",
        "make SHELL::=/x",
        "sed -e 1eid --sandbox x",
        "sed --e 1eid x",
        "env --s=id",
        "sed 1e x --sandbox",
        "make -df /dev/stdin",
        "make -kdf -",
        "make MAKEFLAGS=--e\\val=x",
        "json_pp -F=eval",
        "json_pp +f=eval",
        "json_pp -f eval",
        "git --shallow-file log -c alias.x=!id x",
        "tar -ciIid x",
        "tar -cOIid x",
        "perl -V:x -e 1",
        "env --s id",
        "tar cIf id x.tar f",
        "tar cFf id x.tar",
        "git clone -c core.sshCommand=id x",
        "git grep -Oid print",
        "git -c x=y log",
        "git -C d -c x=y switch b",
        "git own -c x",
        "git --exec-path=d log",
        "git rebase -x id",
        "git -c x clean",
        "fd . -x id",
        "ssh -6oProxyCommand=id h",
        "ssh -6F f h",
        "ssh -PoProxyCommand=id h",
        "scp -6S /usr/bin/ls a h:b",
        "fd . -Hx id",
        "gdb --version x",
        "perl -Mstrict;1 x.pl",
        "deno run -",
        "deno run --allow-all data:text/typescript,1",
        "bun run -",
        "gawk -f p -Wso=1 x",
        "gawk -f p -bW source=1 x",
        "gawk -f p -W file=/dev/stdin",
        "gawk -f p -D",
        "mawk -We /dev/stdin",
        "make -f -",
        "make -sf -",
        "make --file=-",
        "make --makef - all",
        "make -f//dev/stdin",
        "make --file=/proc/self/fd/0",
        "awk -f -",
        "awk --file - x",
        "sed -f - x",
        "sed -nf- x",
        "sed -nf /dev/stdin x",
        "sed --file=/dev/stdin x",
    ] {
        assert!(refused(line), "{line}");
    }
}

/// What an option takes ends where the program ends it, or an option behind it would be its value.
#[test]
fn no_option_hides_code_behind_it() {
    for line in [
        "perl -iI -e 1",
        "perl -CI -e 1",
        "perl -DI -e 1",
        "perl -xI -e 1",
        "perl -I -e 1",
        "perl -pi.old -e 1 f",
        "ruby -iI -e 1",
        "ruby -FI -e 1",
        "ruby -W:I -e 1",
        "ruby -KI -e 1",
        "ruby -KIe 1",
        "ruby -I -e 1",
        "luajit -O -e 1",
        "luajit -O3 -e 1",
        "octave -H --eval 1",
        "clisp -C -x 1",
        "racket -C -e 1",
        "csi -p 1 f.scm",
        "chibi-scheme -p 1 f.scm",
        "swipl -t 1 f.pl",
        "swipl -tgoal f.pl",
        "julia -L /dev/stdin x.jl",
        "python3 -W -c 1",
        "node --title -e 1",
        "bun exec ls",
        "bun repl",
        "bun --cwd . exec ls",
        "gnuplot -e 1",
        "gnuplot x.gp -e 1",
        "gnuplot x.gp -",
        "gnuplot",
        "micropython -c 1",
        "slsh -e 1",
        "slsh",
    ] {
        assert!(refused(line), "{line}");
    }
    // Of one word, which Perl reads on behind a blank.
    for word in ["-iI -e", "-CI -e", "-iI e"] {
        assert!(Shells::new(None).judge(b"perl", &[word.as_bytes(), b"1"], b"/w").is_err(), "{word}");
    }
    for line in [
        "perl -CI x.pl",
        "perl -CSE x.pl",
        "perl -pi.old x.pl f",
        "perl -I lib x.pl -e",
        "perl -Ilib/encode x.pl",
        "ruby -W:no-deprecated x.rb",
        "ruby -Ke x.rb",
        "ruby -i.bake x.rb",
        "luajit -O x.lua -e",
        "luajit -O3 -jon x.lua",
        "octave -H x.m -e",
        "racket -C x.rkt",
        "swipl -q -t halt -s x.pl",
        "bun run exec",
        "bun x.ts",
        "gnuplot -persist x.gp",
        "gnuplot -c x.gp a b",
        "slsh x.sl -e",
        "micropython x.py -c",
        "raku x.raku -e",
    ] {
        assert!(!refused(line), "{line}");
    }
}

/// Some programs take a word that begins like an option for a value, and some do not.
#[test]
fn no_value_that_looks_like_an_option_hides_code() {
    for line in [
        "python3 -W -- -c 1",
        "node --test --no-test",
        "node --version --no_version",
        "node --version --no-warnings --no-version=x",
        "node --v8-options --no-v8_options",
        "node --no-warnings",
        "vim -o2c x",
        "vim -p1c x",
        "vim -w9c x",
        "python3 -X -- -c 1",
        "python3 -W -mjson.tool -c 1",
        "python3 -X -mjson.tool -c 1",
        "python3 -BW -V -c 1",
        "python3 -W -V",
        "python3 -W --version -",
        "python3 --check-hash-based-pycs -- -c 1",
        "python3 --check-hash-based-pycs -V",
        "python3 -W -- -W -V",
        "python3 -W -W -W -- -c 1",
        "python3 -W -c x.py",
        "python3 -W -- /dev/stdin",
        "python3 -W -- -mdoctest /dev/stdin",
        "perl -I -- -e 1",
        "perl -I -v",
        "perl -wI -V:x",
        "perl -I -Mstrict -e 1",
        "ruby -I -- -e 1",
        "ruby -C -- -e 1",
        "ruby -I -v",
        "ruby -r -- -e 1",
        "ruby --encoding -- -e 1",
        "bun -r -- -e 1",
        "php -c -- -r 1",
        "php -c -v",
        "julia --output-o -- -e 1",
        "racket -I -- -e 1",
    ] {
        assert!(refused(line), "{line}");
    }
    for line in [
        "python3 -W -- x.py",
        "python3 -W -mjson.tool x.py -c",
        "python3 -W error -- x.py -c",
        "python3 -W error -mjson.tool x",
        "python3 -W error -V",
        "python3 -X dev --version",
        "perl -I lib -- x.pl -e",
        "perl -I lib -v",
        "ruby -I lib -- x.rb -e",
        "ruby -C d --version",
        "node -r ./x.js --test",
        "php -c x.ini -v",
        "php -f x.php -- -r",
        "julia -O3 -- x.jl -e 1",
        "julia -O3 --version",
        "julia -O3 x.jl -- -e 1",
    ] {
        assert!(!refused(line), "{line}");
    }
    // An empty name is the input.
    for (program, words) in [("perl", &[&b""[..]][..]), ("perl", &[b"-w", b""]), ("node", &[b""])] {
        assert!(Shells::new(None).judge(program.as_bytes(), words, b"/w").is_err(), "{program} {words:?}");
    }
    // Every word is a fork, and every module is one that looks at all behind it.
    let mut words: Vec<&[u8]> = [&b"-W"[..], b"-mdoctest"].repeat(50_000);
    words.push(b"x.py");
    assert!(Shells::new(None).judge(b"python3", &words, b"/w").is_ok());
}

/// By a name that leads through a directory of processes.
#[test]
fn a_descriptor_by_a_directory_is_one() {
    let judged = |file: &str, directory: &str| {
        Shells::new(None).judge(b"python3", &[file.as_bytes()], directory.as_bytes()).is_err()
    };
    for (file, directory) in [
        ("/proc/self/cwd/fd/0", "/proc/77"),
        ("/proc/thread-self/cwd/0", "/proc/77/fd"),
        ("/proc/self/cwd/stdin", "/dev"),
        ("/proc/self/cwd/dev/stdin", "/"),
        ("/proc/self/cwd/cwd/fd/0", "/proc/77"),
        ("/proc/self/cwd/self/fd/0", "/proc"),
        ("/proc/7/cwd/fd/0", "/w"),
        ("/proc/7/cwd/0", "/w"),
        ("/proc/7/cwd/stdin", "/w"),
        ("/proc/7/cwd/dev/fd/0", "/w"),
        ("0", "/proc/77/fd"),
    ] {
        assert!(judged(file, directory), "{file} in {directory}");
    }
    for (file, directory) in [
        ("/proc/self/cwd/x.py", "/w"),
        ("/proc/self/cwd/fd/0", "/w"),
        ("/proc/7/cwd/x.py", "/w"),
        ("/dev/shm/x.py", "/w"),
    ] {
        assert!(!judged(file, directory), "{file} in {directory}");
    }
}

/// An option may say in which directory a file is looked for.
#[test]
fn a_descriptor_in_the_directory_of_an_option_is_one() {
    for line in [
        "make -C /dev -f stdin",
        "make -f stdin -C /dev",
        "make -kC/dev -ffd/0",
        "make -C / -C dev -f stdin",
        "make --directory=/ -f dev/stdin",
        "make -C .. -f dev/stdin",
        "make -C /proc/self -f fd/0",
        "ruby -C /dev stdin",
        "ruby -C/dev stdin",
        "ruby -wC /dev stdin",
        "ruby -KCC /dev stdin",
        "ruby -X /dev stdin",
        "ruby -C / -C dev stdin",
        "ruby -C / -I -Cx -C dev stdin",
        "ruby -C /dev -r ./stdin x.rb",
    ] {
        assert!(refused(line), "{line}");
    }
    for line in [
        "make -C d -f stdin",
        "make -C d -f dev/x.mk -k",
        "make -C /dev all",
        "make -C /dev -f /w/x.mk",
        "ruby -C d dev/x.rb",
        "ruby -C d stdin",
        "ruby -C d -C e x.rb",
        "ruby -rCSV x.rb",
        "ruby -C /dev /w/x.rb",
    ] {
        assert!(!refused(line), "{line}");
    }
}

#[test]
fn shells_and_interpreters_of_other_builds_are_seen() {
    for line in [
        "bash-static -c id",
        "mksh-static -c id",
        "bash-5.2 -c id",
        "dash.static x",
        "ruby-mri -e 1",
        "lua-5.4 -e 1",
        "perl-static -e 1",
        "vim-9.1 -c x",
        "mawk-static 1",
    ] {
        assert!(refused(line), "{line}");
    }
    for line in
        ["ex1 -c", "es6-lint x", "ed25519 x", "sh-lint x", "ruby-mri x.rb", "watch1 x", "bash-completion x"]
    {
        assert!(!refused(line), "{line}");
    }
    assert_eq!((runs_code("bash-static"), runs_code("ruby-mri")), (Some(true), Some(false)));
}

/// As `refused`, of words with blanks in them.
fn refused_words(words: &[&str]) -> bool {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    Shells::new(None).judge(words[0], &words[1..], b"/w").is_err()
}

#[test]
fn settings_that_name_no_program_are_no_code() {
    for line in [
        "ssh -oBatchMode=yes h",
        "ssh -o ConnectTimeout=5 -o stricthostkeychecking=no h",
        "ssh -6oBatchMode=yes h",
        "ssh -6oStrictHostKeyChecking=accept-new h",
        "ssh -4oBatchMode=yes h",
        "ssh -4o BatchMode=yes h",
        "scp -o BatchMode=yes a h:b",
        "sftp -oUserKnownHostsFile=/dev/null h",
        "ssh -vNT h",
        "vim +42 f1",
        "vim + f1",
        "vim +/foo f1",
        "vim -u NONE f1",
        "nvim -u NORC -i NONE f1",
        "git -c user.name=x -c User.Email=x@y commit -m x",
        "git -c color.ui=always -C d diff",
        "git -c user.name=x commit -c HEAD",
        "git -c commit.gpgsign=false commit",
        "perl -MList::Util x.pl",
        "awk --version",
        "gawk -V",
    ] {
        assert!(!refused(line), "{line}");
    }
    assert!(!refused_words(&["git", "-c", "user.name=A B (x) <y>", "commit"]));
    for line in [
        "ssh -oProxyCommand=id h",
        "ssh -oproxycommand=id h",
        "ssh -o LocalCommand=id -oBatchMode=yes h",
        "ssh -oBatchMode=yes -o KnownHostsCommand=id h",
        "ssh -vo ProxyCommand=id h",
        "ssh -NvoProxyCommand=id h",
        "ssh -4oBatchMode=yes -6oProxyCommand=id h",
        "ssh -6oKnownHostsCommand=id h",
        "ssh -6FoBatchMode=yes h",
        "ssh -o -oBatchMode=yes h",
        "ssh -o",
        "ssh -oInclude=x h",
        "ssh -oPKCS11Provider=x h",
        "ssh -oSecurityKeyProvider=x h",
        "ssh -oXAuthLocation=x h",
        "ssh -oPermitLocalCommand=yes h",
        "ssh -oMatch=exec h",
        "ssh -oControlPath=x h",
        "ssh -vF x h",
        "scp -rS x a b",
        "sftp -oBatchModeX=1 h",
        "vim +42|!id f1",
        "vim +/foo/|!id f1",
        "vim +/foo|!id f1",
        "vim +!id f1",
        "vim -u x f1",
        "vim -u NONE -c !id f1",
        "vim -u NONE -u x f1",
        "emacs -u NONE",
        "emacs +eval",
        "git -c core.pager=id log",
        "git -c core.pager log",
        "git -c user.name=x -c core.pager=id log",
        "git -c user.namex=y log",
        "git -c commit.gpgsign=true commit",
        "git -c core.fsmonitor=id status",
        "git -c pager.color.x=id log",
        "git -c gpg.program=id commit",
        "git -c",
        "perl -MList::Util;system x.pl",
        "perl -MList::Util=x x.pl",
        "perl -MList::Util",
        "perl -MEvil x.pl",
        "awk --version BEGIN{system(\"id\")}",
        "awk -V -f -",
        "gawk --version=x",
    ] {
        assert!(refused(line), "{line}");
    }
    for words in [
        ["ssh", "-o", "BatchMode=yes ProxyCommand=x", "h"],
        ["ssh", "-o", "BatchMode=yes\nProxyCommand=x", "h"],
        ["ssh", "-o", "BatchMode yes", "h"],
        ["ssh", "-o", " ProxyCommand=x", "h"],
        ["ssh", "-o", "BatchMode\tProxyCommand=x", "h"],
        ["ssh", "-oBatchMode=yes\nProxyCommand=x", "-v", "h"],
        ["ssh", "-o", "User=\"a\" ProxyCommand=x", "h"],
        ["git", "-c", "user.name=x\n[core]pager=id", "log"],
        ["git", "-c", "user.name\ncore.pager=id", "log"],
        ["vim", "+42\n!id", "x", "y"],
        ["vim", "+/a\n!id", "x", "y"],
        ["vim", "+\u{0664}", "x", "y"],
    ] {
        assert!(refused_words(&words), "{words:?}");
    }
}

#[test]
fn a_refusal_says_how_the_same_is_done() {
    let refusal = |line: &str| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Shells::new(None).judge(words[0], &words[1..], b"/w").unwrap_err()
    };
    assert!(refusal("awk {print}").ends_with("; instead: awk -f FILE"));
    assert!(refusal("ssh -o Include=x h").contains("(-o Include=x)"));
}
