//! What is no code, beside what is.

use super::tests::refused;
use super::{Shells, runs_code};

#[test]
fn files_and_questions_are_not_code() {
    for line in [
        "Rscript --vanilla plot.R -i in.csv",
        "julia --project run.jl -c conf.toml",
        "lua -W x.lua -e prod",
        "guile -s x.scm -l",
        "php -n x.php -r",
        "sbcl --script x.lisp --eval 1",
        "php -t . x.php -r 1",
        "php -n x.php",
        "lua x.lua -e 1",
        "ruby -x x.rb -e 1",
        "deno run x.ts",
        "deno --version",
        "jstack -l 1",
        "json_verify x",
        "scalar -c x",
        "Rscript x.R -e 1",
        "find . -xdev -xtype l",
        "git switch -c b",
        "git -C d log -c",
        "git commit -c HEAD",
        "git clean -xdf",
        "git diff -Oorder",
        "git cherry-pick -x HEAD",
        "git --exec-path",
        "tar --checkpoint=100 -cf x y",
        "tar cf x y",
        "make SHELLCHECK=x all",
        "make V=1 MAKEFLAGS=-k",
        "gdb --version",
        "perl -Mstrict x.pl",
        "node --test-reporter=dot --test",
        "node --test-reporter-destination=/dev/stdout --test",
        "node -r ./x.js y.js",
        "python3 -m doctest x.py",
        "sed --sandbox -e 1e x",
        "python3 -m json.tool /dev/stdin",
        "python3 -m pip install -r /dev/stdin",
        "python3 -m http.server -d /proc",
        "make MAKEFILES= all",
        "perl -V:version",
        "gdb -v",
        "tar -cf x y i",
        "python3 x.py -c",
        "python3 -m http.server",
        "python3 -V",
        "python3 -W error x.py",
        "perl x.pl -e",
        "perl -v",
        "node x.js",
        "node --version",
        "ruby x.rb",
        "php x.php",
        "find . -name x",
        "tar xf x",
        "make all",
        "make -f x.mk DEV=/dev/ttyS0",
        "sed -nf x.sed y",
        "sed s/one/e/ x",
        "sed s/$/e/",
        "sed /^version/p;/edge/d x",
        "deno run main.ts --port 1",
        "bun run build",
        "awk -v n=1 -f p.awk x",
        "awk -F , -f p.awk x",
        "awk -f p.awk x -e",
        "awk -vx=f- -f p.awk",
        "make -o /dev/null all /dev/null",
        "make -C /proc/self/cwd",
        "make --output-sync=target -j 4 -k",
        "node --test",
        "node --test --no-warnings",
        "node --test --experimental-strip-types --no-warnings",
        "node --test --no-deprecation",
        "node --version --no-warnings",
        "git status",
        "env A=b true",
        "vim file",
        "awk -f x.awk y",
        "sed s/a/b/ x",
        "sed -n s/b/f/p e",
        "sed --sandbox 1e",
        "busybox ls",
        "lua x.lua",
        "cat -c",
    ] {
        assert!(!refused(line), "{line}");
    }
}

#[test]
fn what_says_more_and_starts_is_no_question() {
    for line in ["ed -v", "red -v", "ex -v", "phpdbg -v", "clisp -v"] {
        assert!(refused(line), "{line}");
    }
    for line in ["ed --version", "ex --help", "gdb -v", "lldb -v", "clisp --version", "racket -v"] {
        assert!(!refused(line), "{line}");
    }
}

/// What options take differs from program to program.
#[test]
fn each_program_has_options_of_its_own() {
    for line in [
        "ghc -c Main.hs",
        "ghc -Wall -XOverloadedStrings -isrc Main.hs -o main",
        "ghc --numeric-version",
        "ghc --info",
        "ghc --make Main.hs -package x -outputdir d",
        "php -f x.php",
        "php -fx.php",
        "php --file=x.php",
        "php --file x.php",
        "php -S localhost:8000 -t public",
        "php -t public -S localhost:8000 router.php",
        "php -d memory_limit=-1 composer.phar install -r",
        "php -dmemory_limit=-1 -d display_errors=1 x.php",
        "emacs +42 x",
        "vim -Nu NONE x",
        "vim -Nu NONE -ni NONE +42 x",
        "scala -cp . Main",
        "scala -classpath a:b Main -e x",
        "scala -deprecation -encoding utf8 x.scala",
        "scala --version",
        "scala -J-Xmx1g -Xlint:x Main",
        "ocaml -version",
        "ocaml -vnum",
        "ocaml x.ml",
        "git stripspace -c",
        "git -c safe.directory=/w status",
        "git -c core.hooksPath=/dev/null commit -m x",
        "git -c CORE.HOOKSPATH=/dev/null commit",
    ] {
        assert!(!refused(line), "{line}");
    }
    for line in [
        "ghc -e main Main.hs",
        "ghc -emain",
        "ghc --interactive",
        "ghc --run Main.hs",
        "ghc -",
        "ghc -x hs /dev/stdin",
        "ghc ../dev/stdin",
        "ghc @/dev/stdin",
        "php -f /dev/stdin",
        "php -f x.php -r 1",
        "php -f",
        "php -S localhost:8000 -r 1",
        "php -S localhost:8000 -",
        "php -S localhost:8000 /dev/stdin",
        "php -t public",
        "php -d memory_limit=-1",
        "php -d memory_limit=-1 -r 1",
        "php -d auto_prepend_file=x x.php",
        "php -dauto_prepend_file=x x.php",
        "php -d memory_limit=1 -d extension=x x.php",
        "php -d xdebug.mode=debug x.php",
        "php -d",
        "php -nd include_path=x x.php",
        "emacs +42 --eval 1",
        "emacs -Q +x",
        "vim -Nu x x",
        "vim -Nuc NONE x",
        "vim -Nc NONE x",
        "vim -Nu NONE -c !id x",
        "scala",
        "scala -cp .",
        "scala -encoding utf8",
        "scala -nobody-knows x",
        "scala -nobody-knows --version",
        "scala -e 1",
        "scala -cp . -e 1",
        "scala -i x.scala",
        "scala -",
        "scala -.sc",
        "scala _.sc",
        "scala -cp -e 1",
        "scala /dev/stdin",
        "scala repl",
        "scala x.sc -",
        "scala -J-Xmx1g x.sc -.sc",
        "ocaml -e 1",
        "ocaml -stdin",
        "ocaml -I -version",
        "ocaml -w -vnum",
        "ocaml",
        "git -c core.hooksPath=x commit",
        "git -c core.hooksPath=/DEV/null commit",
        "git -c core.hooksPath=/dev/null/../x commit",
        "git -c core.hooksPath commit",
        "git -c x.y=z stripspace -c",
    ] {
        assert!(refused(line), "{line}");
    }
    for word in ["memory_limit=1\nauto_prepend_file=x", "memory_limit=1;x", "memory_limit=${x}"] {
        assert!(
            Shells::new(None).judge(b"php", &[b"-d", word.as_bytes(), b"x.php"], b"/w").is_err(),
            "{word}"
        );
    }
}

#[test]
fn what_is_compiled_or_is_a_class_is_read_as_code_is() {
    for line in [
        "lli x.ll -",
        "lli -O2 -mattr=+avx x.ll a",
        "lli -entry-function main x.ll",
        "lli --extra-module=y.ll x.ll",
        "lli --version",
        "java X.java -s -",
        "java -cp a:b Main /dev/stdin",
        "java -Xmx1g -jar x.jar jdk.jshell/x",
        "java -version",
        "java @args Main",
        "gforth x.fs --evaluate",
        "julia --load x.jl y.jl",
        "bun --preload ./x.js y.js",
        "node --test --test-global-setup=./x.js",
        "elixir x.exs a -e",
        "elixir -r x.ex y.exs",
    ] {
        assert!(!refused(line), "{line}");
    }
    for line in [
        "lli",
        "lli -",
        "lli /dev/stdin",
        "lli -entry-function main",
        "lli -entry-function main -",
        "lli -O2",
        "lli -entry-function --version",
        "lli -jit-kind=mcjit",
        "lli-14 ../dev/stdin",
        "lli -extra-module /dev/stdin x.ll",
        "lli -extra-module=/dev/stdin x.ll",
        "lli --extra-module=/dev/stdin x.ll",
        "java -m jdk.jshell/jdk.internal.jshell.tool.JShellToolProvider -s -",
        "java --module=jdk.jshell/jdk.internal.jshell.tool.JShellToolProvider",
        "java -cp x jdk.internal.jshell.tool.JShellToolProvider",
        "java -p x jdk/internal/jshell/tool/JShellToolProvider",
        "java com.sun.tools.example.debug.tty.TTY",
        "java -m jdk.jdi/com.sun.tools.example.debug.tty.TTY",
        "java --source 21 /dev/stdin",
        "java -source 21 ../dev/stdin",
        "java @/dev/stdin",
        "java -jar /dev/fd/0",
        "jdb Main",
        "gforth --evaluate 1",
        "gforth --eval 1",
        "gprolog --init-goal 1",
        "gprolog --query-goal 1",
        "gprolog --entry-goal 1",
        "gprolog --consult-file /dev/stdin x",
        "julia --load=/dev/stdin x.jl",
        "julia --load /dev/stdin x.jl",
        "elixir --rpc-eval n 1",
        "elixir --name n --rpc-eval n 1",
        "elixir -e 1",
        "bun --preload=/dev/stdin x.js",
        "bun --preload data:text/javascript,1 x.js",
        "node --test --test-global-setup=data:text/javascript,1",
    ] {
        assert!(refused(line), "{line}");
    }
    assert_eq!((runs_code("valgrind"), runs_code("bash")), (Some(false), Some(true)));
}

/// What a file ends is begun no more.
#[test]
fn a_file_between_two_scripts_of_sed_may_end_the_first() {
    let judged = |words: &[&str]| {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        Shells::new(None).judge(b"sed", &words, b"/w").is_err()
    };
    assert!(judged(&["-e", "a\\", "-f", "F", "-e", "e id"]));
    assert!(judged(&["-e", "a\\", "--file=F", "-e", "p", "-f", "G", "-e", "1e id"]));
    assert!(judged(&["-e", "e id", "-f", "F"]) && judged(&["-f", "F", "-e", "a\\", "-e", "x", "-e", "e id"]));
    assert!(!judged(&["-e", "a\\", "-e", "e id", "-f", "F"]));
    assert!(!judged(&["-f", "F", "-e", "a\\", "-e", "e id"]));
    assert!(!judged(&["-e", "/x/{", "-f", "F", "-e", "p", "-e", "}", "x"]) && !judged(&["-f", "F", "e id"]));
}

/// What a program starts is looked at when it starts: an option of its is none of the program's own.
#[test]
fn options_of_a_command_for_another_program_are_its_own() {
    for line in [
        "env LC_ALL=C sort -S 1M f.txt",
        "env gcc -S x.c",
        "env A=b git commit -S -m x",
        "env -i -u X -C d A=b ls -S",
        "env --unset X ls -S",
        "env --chdir=d ls -S",
        "env -0uX ls -S",
        "ssh h ps -o pid",
        "ssh h grep -o x",
        "ssh h git log -S foo",
        "ssh h ls -S",
        "ssh -p 22 -l me -4v h df -F x",
        "ssh -oBatchMode=yes h -v -p 22 ps -o pid",
        "ssh -vp22 h ps -o pid",
    ] {
        assert!(!refused(line), "{line}");
    }
    for line in [
        "env -S id",
        "env -iS id",
        "env A=b -S id",
        "env - -S id",
        "env -u sort -S id",
        "env -iu sort -S id",
        "env -C d -S id",
        "env -a x -S id",
        "env --uns sort -S id",
        "env --chdir d --split-string=id",
        "env -u -i -S id",
        "env -S",
        "ssh h -oProxyCommand=id ls",
        "ssh h -v -o ProxyCommand=id ls",
        "ssh -p 22 h -oProxyCommand=id",
        "ssh -4p 22 h -oProxyCommand=id",
        "ssh -vPp 22 h -oProxyCommand=id",
        "ssh -P h -oProxyCommand=id",
        "ssh -P t h -oProxyCommand=id",
        "ssh -P -p 22 h -oProxyCommand=id",
        "ssh -vP -p 22 h -oProxyCommand=id",
        "ssh -b a -m m -Q x h -F f",
        "ssh h -p 22 -F f ls",
        "ssh - h -oProxyCommand=id",
        "autossh -M 0 h -oProxyCommand=id",
        "scp -S x a h:b",
        "scp -P 22 -S x a h:b",
        "sftp -b f -D x h",
    ] {
        assert!(refused(line), "{line}");
    }
}

/// What stands next to them.
#[test]
fn neighbours_of_what_is_refused() {
    for line in [
        "java jdk/internal.jshell.tool.JShellToolProvider -s -",
        "java com.sun/tools.example.debug.tty.TTY",
        "java -m jdk.hotspot.agent/sun.jvm.hotspot.CLHSDB",
        "java jdk.nashorn.tools.Shell",
        "java @//dev/stdin",
        "java @/./dev/stdin",
        "ghc @//dev/stdin",
        "cpan -s x",
        "cpan -P -s",
        "rake -f //dev/stdin",
        "rake --rakefile=/./dev/stdin",
        "sftp -s a -s b -o ProxyCommand=x host",
        "scp -doProxyCommand=x a b",
        "ssh -PS x host -oProxyCommand=y",
        "erl",
    ] {
        assert!(refused(line), "{line}");
    }
    for line in [
        "ssh -oStrictHostKeyChecking=no host ls -S",
        "ssh -lbob host sort -S 1G",
        "env -uLC_NUMERIC sort -S 1G",
        "rake --rakefile=R",
        "java com.sun.tools.xjc.Driver a",
        "java com.sun.tools.javac.Main x.java",
    ] {
        assert!(!refused(line), "{line}");
    }
}

/// Settings that start nothing, files that are run by a module, and letters that mean something else.
#[test]
fn only_what_is_run_is_code() {
    for line in [
        "git clone --config core.autocrlf=false u",
        "git clone --config=core.autocrlf=false u",
        "git clone -c core.autocrlf=false --config user.name=x u",
        "git am -c x.mbox",
        "git notes add -c HEAD",
        "git notes --ref x append -c HEAD",
        "git -c core.pager=cat log",
        "git -c core.pager= log",
        "git -c pager.log=false log",
        "git -c core.editor=true commit --amend",
        "git -c Core.Editor=/usr/bin/true commit",
        "git -c sequence.editor=: rebase -i HEAD~2",
        "git -c core.askPass= fetch",
        "git -c credential.helper= fetch",
        "git -c core.fsmonitor= status",
        "git -c core.fsmonitor=false status",
        "git -c http.sslVerify=false fetch",
        "git -c http.version=HTTP/1.1 -c http.postBuffer=1 push",
        "ssh -D 1080 h",
        "ssh -ND 127.0.0.1:1080 h",
        "python3 -m cProfile app.py",
        "python3 -m cProfile -o x.prof -s cumtime app.py -m x",
        "python3 -m profile app.py",
        "python3 -m cProfile -m pytest tests",
        "scala -version",
    ] {
        assert!(!refused(line), "{line}");
    }
    for line in [
        "git clone --config core.sshCommand=id u",
        "git clone --config=core.sshCommand=id u",
        "git clone --conf core.sshCommand=id u",
        "git clone --config",
        "git --config-env=core.pager=X log",
        "git --config-env core.pager=X log",
        "git am -c x -C d -x id",
        "git -c core.pager=cat -c core.editor=id commit",
        "git -c core.pager=cat,id log",
        "git -c core.editor commit",
        "git -c pager.log=id log",
        "git -c credential.helper=id fetch",
        "git -c credential.helper fetch",
        "git -c alias.am=!id am -c",
        "git -c http.proxyAuthMethod=id -c gpg.program=true log",
        "ssh -D 1080 -oProxyCommand=id h",
        "ssh -D -oProxyCommand=id h",
        "sftp -D id h",
        "python3 -m cProfile /dev/stdin",
        "python3 -m cProfile -o x /dev/fd/0",
        "python3 -m cProfile -m code",
        "python3 -m cProfile -mo x pdb y.py",
        "python3 -m profile -m cProfile -m pdb x.py",
        "python3 -m cProfile -m unittest /dev/stdin",
        "python3 -m pdb x.py",
        "scala -version -e 1",
    ] {
        assert!(refused(line), "{line}");
    }
}
