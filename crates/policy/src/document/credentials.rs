//! `[credentials.NAME]`, as it is written.

use crate::document::Forms;
use crate::reader::{At, List, Named, table};

table! {
    /// A secret that the gateway holds for the task.
    CredentialTable {
        /// Where the secret comes from.
        source: At<CredentialSource>,
        /// The hosts it may go to, `HOST` or `HOST:PORT`.
        hosts: List<String>,
        /// The methods of requests that it goes with; all, if absent.
        methods: List<String>,
        /// Their paths, as patterns; all, if absent. Of a key of ssh with `push`: repositories.
        paths: List<String>,
        /// How it is written on them: `bearer`, `basic`, `basic:USER`, `registry`, `registry:USER`, `sigv4`, `sigv4:REGION/SERVICE`, `?NAME={secret}` or `Name: text {secret}`, or a list; `certificate`: the gateway shows it to the hosts as a client of TLS.
        inject: At<Forms>,
        /// Where the task sees a placeholder; without it every request to the hosts gets the secret.
        expose: At<ExposeTable>,
        /// A made-up secret of the same form, for the placeholder.
        like: At<String>,
        /// Of a key of ssh: the namespaces of files that it may sign, `git` for commits and tags.
        sign: List<String>,
        /// Of a key of ssh: the file with the hosts' keys; the invoker's own and the system's, if absent.
        known_hosts: At<String>,
        /// The branches that git pushes to, `main`, `agent/*` or `refs/tags/v*`; none: it only fetches. A key of ssh with it is used by git alone.
        push: List<String>,
        /// It is fetched again after this time.
        refresh: At<String>,
    }
}

table! {
    /// Where a secret comes from: exactly one of these.
    CredentialSource {
        /// A variable of the invoker.
        env: At<String>,
        /// A file.
        file: At<String>,
        /// A command and its arguments.
        command: List<String>,
        /// Attributes of an item in the desktop's keyring (freedesktop.org's Secret Service).
        secret_service: Named<At<String>>,
        /// A key in the invoker's ssh agent: its fingerprint (`SHA256:..`), its comment, or the public key.
        ssh_agent: At<String>,
        /// An OpenPGP key in the invoker's keyring, by its fingerprint, id or user: gpg signs commits and tags of git with it.
        gpg: At<String>,
        /// A token of OAuth 2.0, from client credentials or in exchange for another token.
        oauth: At<OauthTable>,
        /// An SVID of SPIFFE's Workload API: a JWT, or a certificate with its key.
        spiffe: At<SpiffeTable>,
    }
}

table! {
    /// How a token is asked for (RFC 6749, section 4.4; RFC 8693).
    OauthTable {
        /// `https://HOST/PATH`, where tokens are given out.
        token_url: At<String>,
        /// Who asks.
        client_id: At<String>,
        /// Its secret, which goes there as basic authentication.
        client_secret: At<PlainSource>,
        /// Instead of a secret, a JWT that says who asks (RFC 7523), such as a projected token of Kubernetes.
        client_assertion: At<PlainSource>,
        /// The token that is exchanged.
        subject_token: At<PlainSource>,
        /// What it is; `urn:ietf:params:oauth:token-type:access_token`, if absent.
        subject_token_type: At<String>,
        /// What the token is for, as the server knows it.
        scope: At<String>,
        /// For whom.
        audience: At<String>,
        /// For which resource (RFC 8707).
        resource: At<String>,
    }
}

table! {
    /// Which SVID.
    SpiffeTable {
        /// The Workload API's unix socket; where `SPIFFE_ENDPOINT_SOCKET` of the invoker says, if absent.
        socket: At<String>,
        /// Whom a JWT is for, or a list of those.
        audience: At<Forms>,
        /// An X.509-SVID: a certificate and its key, for `inject = "certificate"`.
        x509: At<bool>,
        /// `spiffe://TRUST-DOMAIN/PATH`, where ringfence has several identities there.
        id: At<String>,
    }
}

table! {
    /// Where a part of that comes from: exactly one of these.
    PlainSource {
        /// A variable of the invoker.
        env: At<String>,
        /// A file, read each time.
        file: At<String>,
        /// A command and its arguments.
        command: List<String>,
        /// Attributes of an item in the desktop's keyring.
        secret_service: Named<At<String>>,
    }
}

table! {
    /// Where the task sees a placeholder.
    ExposeTable {
        /// A variable of the task.
        env: At<String>,
        /// A file that only the sandbox has.
        file: At<String>,
        /// What the variable or the file holds, with `{secret}` in it, or `{basic}`: user and secret as basic authentication has them.
        text: At<String>,
        /// git uses it for the hosts.
        git: At<bool>,
    }
}
