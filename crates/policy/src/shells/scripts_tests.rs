//! Scripts by their own names and behind their interpreters, and what reads code by other options than most.

use super::tests::refused;
use super::*;

#[test]
fn a_script_is_judged_behind_its_interpreter() {
    for line in [
        "perl /usr/bin/json_pp -f eval",
        "perl -w /usr/bin/json_pp -f=eval",
        "perl /usr/bin/cpan -j /dev/stdin -v",
        "perl /usr/bin/rename s/a/b/e f",
        "perl cg_diff --mod-filename=s/a/b/e a b",
        "ruby /usr/bin/rake -e 1",
        "ruby /usr/bin/irb",
        "php -f /usr/bin/psysh",
        "python3 /usr/bin/pdb3 x.py",
        "python3 -I -- /usr/bin/ipython3",
        "python3 /usr/bin/pytest --pdb",
        "python3 -m pytest --trace",
        "python3 -mpytest -x --pdbcls=a:b",
        "python3 -m pygments -x -l x.py/../../dev/stdin f",
        "node /usr/lib/node_modules/npm/bin/npm-cli.js init --init-module=/dev/stdin",
    ] {
        assert!(refused(line), "{line}");
    }
    for line in [
        "perl /usr/bin/json_pp -f json",
        "perl ./x.pl -f eval",
        "perl /usr/bin/cpan -v",
        "python3 x.py /usr/bin/pdb3",
        "python3 -m pytest -x --tb=short -k trace",
        "python3 -m pytest --trace-config",
        "python3 /usr/bin/pytest",
        "node /usr/lib/node_modules/npm/bin/npm-cli.js init -y",
        "ruby /usr/bin/rake -f x.rake",
        "rename -v a b",
    ] {
        assert!(!refused(line), "{line}");
    }
    // No line runs so many.
    let many = (0..20).map(|at| format!(" -x pytest -o{at}")).collect::<String>();
    assert!(refused(&format!("lua{many}")) && !refused("lua -x pytest -o1"));
}

#[test]
fn a_file_of_pythons_own_is_the_module_that_it_is() {
    for line in [
        "python3 /usr/lib/python3.11/code.py",
        "python3 //usr/lib/python3.11/./code.py",
        "python3 -I ../usr/lib/python3.11/timeit.py 1",
        "python3 /usr/lib/python3.11/__pycache__/trace.cpython-311.pyc x",
        "python3 /usr/lib/python3.11/asyncio",
        "python3 /usr/lib/python3.11/idlelib/idle.py",
        "python3.12 -u /usr/local/lib/python3.12/cProfile.py -m code",
        "pypy3 /usr/lib/pypy3.9/runpy.py x",
        "python3 /usr/lib/python3/dist-packages/IPython/__main__.py",
        "python3 /usr/lib/python3.11/doctest.py /dev/stdin",
        "python3 /usr/lib/python3/dist-packages/pytest/__main__.py --pdb",
    ] {
        assert!(refused(line), "{line}");
    }
    for line in [
        "python3 /usr/lib/python3.11/json/tool.py x",
        "python3 /usr/lib/python3.11/doctest.py x.py",
        "python3 /opt/python3.11/code.py",
        "python3 lib/code.py",
        "python3 venv/lib/python3.11/site-packages/pytest/__main__.py x",
        "perl /usr/lib/python3.11/code.py",
    ] {
        assert!(!refused(line), "{line}");
    }
}

#[test]
fn what_reads_code_beside_a_descriptor_alone_is_seen() {
    let judged = |line: &str| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Shells::new(None).judge_script(words[0], &words[1..], b"/w").is_err()
    };
    for line in [
        "pygmentize -x -l x.py/../../../../dev/stdin f",
        "pygmentize -gx -lx.py/../../dev/stdin:L f",
        "pygmentize -x -f ../proc/self/fd/0 f",
        "npm init --init-module=/dev/stdin",
        "npm init --init-mod ../dev/fd/3",
        "npm --userconfig /dev/stdin init",
        "pnpm install --global-pnpmfile=/dev/stdin",
        "pytest --pdb",
        "pytest -o addopts=--pdb",
        "pytest -c /dev/stdin",
        "pytest @/dev/stdin",
        "coverage run ../dev/stdin",
        "cg_diff --mod-filename s/a/b/ a b",
        "gem --config-file a -V --backtrace b exec irb",
        "bundle cons",
        "elixir --logger-otp-reports true --logger-sasl-reports false -e 1",
        "elixir --boot-var a b --boot-var c d -e 1",
        "elixir ../dev/stdin",
        "rake -f ../../dev/stdin",
        "idle3 x.py",
    ] {
        assert!(judged(line), "{line}");
    }
    for line in [
        "pygmentize -l py /dev/stdin",
        "pygmentize -x -l ./x.py f",
        "npm init -y",
        "npm install --userconfig ./npmrc",
        "npm view x > /dev/null",
        "pytest -k pdb x.py",
        "pytest -o addopts=-q",
        "pytest --tb=short > /dev/null",
        "vim -f x",
        "gvim -f x",
        "coverage run x.py",
        "cg_diff a b",
        "bundle config",
        "gem install console",
        "elixir --boot-var a b x.exs y -e",
        "elixir x.exs /dev/stdin",
        "rake -f x",
    ] {
        assert!(!judged(line), "{line}");
    }
}

#[test]
fn editors_and_others_are_read_by_their_own_options() {
    for line in [
        "vim -Lu /dev/stdin f",
        "python3 /usr/bin/py.test-3 --pdb -s x.py",
        "vim -fu x f",
        "nvim -l x.lua",
        "rvim -Lnu x f",
        "vim -lu x f",
        "gvim -U x f",
        "nvim --embed",
        "emacs -f x",
        "emacs --ev=1",
        "emacs -x f",
        "emacs -batch -l x",
        "emacs --fg-daemon=x",
        "emacsclient -ne 1",
        "emacsclient --eval 1",
        "ruby -x/dev stdin",
        "ruby -nx/dev stdin",
        "bmake -I /dev -f stdin",
        "bmake -m/dev -fstdin",
        "bmake -C / -I dev -f fd/0",
        "gnuplot ../dev/stdin",
        "deno run //dev/stdin",
        "wine64-preloader /bin/sh",
    ] {
        assert!(refused(line), "{line}");
    }
    for line in [
        "vim -L f",
        "vim -Lnu NONE f",
        "emacs -fg red f",
        "emacs -fn fixed -bg blue -cr red f",
        "emacs -nw -nbc f",
        "emacs +12:3 f",
        "emacsclient -c f",
        "emacsclient -nw -f s f",
        "ruby -x x.rb",
        "ruby -x/lib x.rb",
        "bmake -I /usr/share/mk -f x.mk x",
        "make -I include -f x.mk",
    ] {
        assert!(!refused(line), "{line}");
    }
    assert!(is_loader("wine64-preloader"));
}
