//! `autodeployctl`, the client; all of it is in [`autodeploy::client`].

fn main() -> std::process::ExitCode {
    autodeploy::client::run()
}
