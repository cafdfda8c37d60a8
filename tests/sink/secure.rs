//! TLS: a private CA, a client's certificate, and a server whose certificate changes.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::lab::{expect_status, json, output, text};
use crate::scripted::Server;
use crate::truth::{Place, configuration, expect_same, kill};

struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

fn authority() -> Authority {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("a CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate");
    Authority {
        pem: certificate.pem(),
        certificate: certificate.der().clone(),
        issuer: Issuer::new(params, key),
    }
}

fn identity(authority: &Authority, name: &str, purpose: ExtendedKeyUsagePurpose) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.extended_key_usages = vec![purpose];
    let certificate = params
        .signed_by(&key, &authority.issuer)
        .expect("a certificate");
    Identity {
        pem: certificate.pem(),
        certificate: certificate.der().clone(),
        key,
    }
}

/// A server of `authority`, which wants a client of the same.
fn server_side(authority: &Authority) -> ServerConfig {
    let server = identity(authority, "127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).expect("a CA");
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("a verifier");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server.key.serialize_der()));
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![server.certificate], key)
        .expect("a certificate and its key")
}

/// What the client believes, and what it shows.
fn client_side(authority: &Authority, dir: &Path) {
    let client = identity(authority, "kymo", ExtendedKeyUsagePurpose::ClientAuth);
    for (name, text) in [
        ("ca.pem", &authority.pem),
        ("client.pem", &client.pem),
        ("client.key", &client.key.serialize_pem()),
    ] {
        std::fs::write(dir.join(name), text).expect("a file");
    }
}

fn sink(server: &Server, dir: &Path, with_certificate: bool) -> String {
    let dir = dir.display();
    let shown = if with_certificate {
        format!(", certificate = \"{dir}/client.pem\", key = \"{dir}/client.key\"")
    } else {
        String::new()
    };
    configuration(&format!(
        "url = \"https://{}\"\ndatabase = \"lab\"\ndialect = \"v3\"\ntls = {{ ca = \"{dir}/ca.pem\"{shown} }}",
        server.address
    ))
}

#[test]
fn a_certificate_that_changes_is_believed_again_when_its_ca_is() {
    let (first, second) = (authority(), authority());
    let server = Server::good();
    server.encrypt(server_side(&first));
    let place = Place::new("");
    client_side(&first, place.dir.path());
    std::fs::write(place.config(), sink(&server, place.dir.path(), true)).expect("a file");
    let run = place.run();
    place.wait_for("the sink sends", |status| {
        status["written"].as_u64() > Some(500)
    });
    kill(run);
    // The connection of the next run finds another certificate.
    server.encrypt(server_side(&second));
    let run = place.run();
    place.wait_for("the certificate is not believed", |status| {
        status["state"] == "waiting"
            && status["trouble"]
                .as_str()
                .is_some_and(|said| said.to_lowercase().contains("certificate"))
    });
    kill(run);
    let mut run = place.start_for("3s");
    std::thread::park_timeout(std::time::Duration::from_secs(1));
    // Whoever looks after it puts the new CA in place: without a restart.
    client_side(&second, place.dir.path());
    assert!(run.wait().expect("it ends").success());
    let report = json(&place.report());
    assert_eq!(report["sinks"]["lab"]["behind"], 0, "{report}");
    expect_same(&server.points(), &place.truth());
}

#[test]
fn what_is_wrong_with_a_connection_is_said_in_plain_words() {
    let ca = authority();
    let server = Server::good();
    server.encrypt(server_side(&ca));
    let place = Place::new("");
    client_side(&ca, place.dir.path());
    let tried = |configuration: String| {
        std::fs::write(place.config(), configuration).expect("a file");
        let tested = output(&mut place.command(&["sink", "test"]));
        expect_status(&tested, 1);
        text(&tested.stdout)
    };
    let told = tried(sink(&server, place.dir.path(), false));
    assert!(told.contains("it wants to see a certificate"), "{told}");
    let told = tried(sink(&server, place.dir.path(), true).replace("127.0.0.1", "localhost"));
    assert!(
        told.contains("its certificate is for another name"),
        "{told}"
    );
    let other = authority();
    std::fs::write(place.dir.path().join("ca.pem"), &other.pem).expect("a file");
    let told = tried(sink(&server, place.dir.path(), true));
    assert!(
        told.contains("its certificate is of nobody we believe"),
        "{told}"
    );
    let plain = Server::good();
    let told = tried(sink(&plain, place.dir.path(), true));
    assert!(told.contains("it does not speak TLS there"), "{told}");
    let address = plain.address.to_string();
    drop(plain);
    let told = tried(configuration(&format!(
        "url = \"http://{address}\"\ndatabase = \"lab\""
    )));
    assert!(told.contains("nothing listens there"), "{told}");
    // A file that is missing is told before anything is opened.
    std::fs::remove_file(place.dir.path().join("ca.pem")).expect("a file");
    std::fs::write(place.config(), sink(&server, place.dir.path(), true)).expect("a file");
    let refused = output(&mut place.command(&["run", "--no-serve", "--duration", "1s"]));
    expect_status(&refused, 2);
    assert!(
        text(&refused.stderr).contains("ca.pem holds no certificate"),
        "{}",
        text(&refused.stderr)
    );
}
