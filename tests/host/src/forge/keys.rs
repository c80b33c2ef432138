//! The forge's certificate and keys, and the machine's deploy key.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::Forge;
use crate::run;

/// Where the machine finds its deploy key, readable by `autodeploy` alone.
pub const DEPLOY_KEY: &str = "/var/lib/keys/deploy";

impl Forge {
    pub(super) fn make_keys(&self) -> Result<()> {
        run::shell(&format!(
            "cd '{}/etc/ssh'
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
                 -subj '/CN=forge authority' -keyout ca.key -out ca.crt 2>/dev/null
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                 -subj /CN=forge -keyout forge.key -out forge.csr 2>/dev/null
             printf 'subjectAltName=DNS:forge,IP:10.77.0.1\\n' > forge.ext
             openssl x509 -req -in forge.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 \
                 -extfile forge.ext -out forge.crt 2>/dev/null
             cat forge.key forge.crt > forge.pem
             ssh-keygen -q -t ed25519 -N '' -C forge -f host_key
             ssh-keygen -q -t ed25519 -N '' -C deploy -f deploy_key
             cp deploy_key.pub accepted_keys",
            self.root.display()
        ))?;
        Ok(())
    }

    /// Lets a machine's disk trust the forge, and puts the deploy key on it.
    ///
    /// # Errors
    /// Fails when a file cannot be written.
    pub fn introduce_to(&self, host_root: &Path) -> Result<()> {
        let ssh = self.root.join("etc/ssh");
        let key = fs::read_to_string(ssh.join("host_key.pub"))?;
        let words: Vec<&str> = key.split_whitespace().collect();
        fs::write(
            host_root.join("etc/ssh/ssh_known_hosts"),
            format!("forge,10.77.0.1 {} {}\n", words[0], words[1]),
        )?;
        run::shell(&format!(
            "cd '{ssh}'; host='{host}'
             cat ca.crt >> $host/etc/ssl/certs/ca-certificates.crt
             cp ca.crt $host/etc/ssl/certs/$(openssl x509 -hash -noout -in ca.crt).0
             mkdir -p $host/var/lib/keys
             install -m 600 deploy_key $host{DEPLOY_KEY}
             chroot $host chown autodeploy: {DEPLOY_KEY}",
            ssh = ssh.display(),
            host = host_root.display()
        ))?;
        Ok(())
    }
}
