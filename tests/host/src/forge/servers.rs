//! The forge's servers: lighttpd with `git http-backend`, and sshd.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Forge;
use super::faults::NAME_SERVER;
use crate::run::{run, shell};
use crate::wait::wait_until;
use crate::{cgroup, network::FORGE_ADDRESS};

const LIGHTTPD: &str = r#"
server.modules = ("mod_alias", "mod_cgi", "mod_setenv", "mod_openssl", "mod_accesslog")
server.document-root = "/srv/www"
server.bind = "0.0.0.0"
server.port = 80
server.errorlog = "/var/log/lighttpd-forge.log"
accesslog.filename = "/var/log/forge-requests.log"
alias.url = ("/git" => "/usr/lib/git-core/git-http-backend")
setenv.set-environment = ("GIT_PROJECT_ROOT" => "/srv/git", "GIT_HTTP_EXPORT_ALL" => "1")
$HTTP["url"] =~ "^/git" { cgi.assign = ("" => "") }
$SERVER["socket"] == "0.0.0.0:443" {
    ssl.engine = "enable"
    ssl.pemfile = "/etc/ssh/forge.pem"
}
"#;

const SSHD: &str = "
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/accepted_keys
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
PidFile none
";

impl Forge {
    pub(super) fn configure(&self) -> Result<()> {
        for folder in ["srv/www", "run/sshd"] {
            fs::create_dir_all(self.root.join(folder))?;
        }
        fs::write(self.root.join("etc/forge-lighttpd.conf"), LIGHTTPD)?;
        fs::write(self.root.join("etc/forge-sshd.conf"), SSHD)?;
        Ok(())
    }

    /// Starts the name server, which goes on when the others are stopped.
    pub(super) fn start_name_server(&mut self) -> Result<()> {
        let words = ["/usr/bin/python3", "-c", NAME_SERVER];
        self.name_server = Some(self.start_in(&self.network.names, &words)?);
        self.wait_listening("udp", 53)
    }

    /// Starts the Git servers and waits until they listen; those that run go on.
    ///
    /// # Errors
    /// Fails when one does not listen within ten seconds.
    pub fn start_servers(&mut self) -> Result<()> {
        if !self.servers.is_empty() {
            return Ok(());
        }
        self.servers.push(self.start(&[
            "/usr/sbin/lighttpd",
            "-D",
            "-f",
            "/etc/forge-lighttpd.conf",
        ])?);
        self.servers.push(self.start(&[
            "/usr/sbin/sshd",
            "-D",
            "-e",
            "-f",
            "/etc/forge-sshd.conf",
        ])?);
        for port in [80, 443, 22] {
            self.wait_listening("tcp", port)?;
        }
        Ok(())
    }

    /// Serves `/srv/www` over https on another port, with a certificate that nobody vouches for.
    ///
    /// # Errors
    /// Fails when it does not listen within ten seconds.
    pub fn stranger_on(&self, port: u16) -> Result<()> {
        let root = self.root.display();
        shell(&format!(
            "cd '{root}/etc'
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
                 -subj /CN=forge -addext subjectAltName=DNS:forge \
                 -keyout stranger.key -out stranger.crt 2>/dev/null
             cat stranger.key stranger.crt > stranger.pem
             printf '%s\\n' 'server.modules = (\"mod_openssl\")' \
                 'server.document-root = \"/srv/www\"' 'server.port = {port}' \
                 'ssl.engine = \"enable\"' 'ssl.pemfile = \"/etc/stranger.pem\"' > stranger.conf"
        ))?;
        // Ends with the other servers: they share the group.
        self.start(&["/usr/sbin/lighttpd", "-D", "-f", "/etc/stranger.conf"])?;
        self.wait_listening("tcp", port)
    }

    /// Stops the Git servers: connections are refused from now on.
    pub fn stop_servers(&mut self) {
        cgroup::end(&self.network.forge);
        for mut server in self.servers.drain(..) {
            let _ = server.wait();
        }
    }

    /// Starts a program in the forge's namespace and on its disk.
    ///
    /// # Errors
    /// Fails when it cannot be started.
    pub fn start(&self, words: &[&str]) -> Result<Child> {
        self.start_in(&self.network.forge, words)
    }

    fn start_in(&self, group: &str, words: &[&str]) -> Result<Child> {
        let groups = cgroup::make(group)?;
        let groups: Vec<String> = groups.iter().map(|group| group.display().to_string()).collect();
        let script = format!(
            "PATH=$PATH:/usr/sbin:/sbin
             for group in {}; do echo $$ > $group/cgroup.procs; done
             exec ip netns exec {} chroot '{}' \"$@\"",
            groups.join(" "),
            self.network.forge,
            self.root.display()
        );
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.root.join("var/log/forge.log"))?;
        Command::new("/bin/sh")
            .args(["-c", &script, "sh"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {words:?} on the forge"))
    }

    /// Waits until something listens on a `tcp` or `udp` port of the forge.
    ///
    /// # Errors
    /// Fails after ten seconds.
    pub fn wait_listening(&self, kind: &str, port: u16) -> Result<()> {
        let line = format!(
            "PATH=$PATH:/usr/sbin:/sbin; ip netns exec {} ss --{kind} -Hln 'sport = :{port}'",
            self.network.forge
        );
        wait_until(
            &format!("the forge to listen on {FORGE_ADDRESS}:{port}"),
            Duration::from_secs(10),
            || {
                let output =
                    run(Command::new("/bin/sh").args(["-c", &line]), Duration::from_secs(5))?;
                Ok(!output.text().is_empty())
            },
        )
    }
}
