//! How paths leave a plan: as text for readers, as they are for the process that carries the plan out.

/// For a field that is a path.
pub(crate) mod path {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&path.to_string_lossy())
        } else {
            path.as_os_str().serialize(serializer)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        OsString::deserialize(deserializer).map(PathBuf::from)
    }
}

/// For a list of rights on paths.
pub(crate) mod rules {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::Right;

    #[derive(Serialize, Deserialize)]
    struct Rule(Right, #[serde(with = "super::path")] PathBuf);

    pub(crate) fn serialize<S: Serializer>(
        rules: &[(Right, PathBuf)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(rules.iter().map(|(right, path)| Rule(*right, path.clone())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(Right, PathBuf)>, D::Error> {
        let rules = Vec::<Rule>::deserialize(deserializer)?;
        Ok(rules.into_iter().map(|Rule(right, path)| (right, path)).collect())
    }
}

/// For a list of paths.
pub(crate) mod paths {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct One(#[serde(with = "super::path")] PathBuf);

    pub(crate) fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| One(path.clone())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<One>::deserialize(deserializer)?.into_iter().map(|One(path)| path).collect())
    }
}

/// For a list of links and where they lead.
pub(crate) mod links {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Link(#[serde(with = "super::path")] PathBuf, #[serde(with = "super::path")] PathBuf);

    pub(crate) fn serialize<S: Serializer>(
        links: &[(PathBuf, PathBuf)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(links.iter().map(|(path, target)| Link(path.clone(), target.clone())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(PathBuf, PathBuf)>, D::Error> {
        let links = Vec::<Link>::deserialize(deserializer)?;
        Ok(links.into_iter().map(|Link(path, target)| (path, target)).collect())
    }
}
