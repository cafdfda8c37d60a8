//! What files and FIFOs have of their own, and how links are called.

use std::io::Write as _;

use kymo_drivers::link::{Link, OpenError, Options, Read, Stop, fifo, file, tcp, tcp_server, udp};

use super::kinds::{MOMENT, PATIENCE, fifo_in, met, take};

#[test]
fn a_file_that_is_rotated_is_read_to_its_end_and_then_the_next_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, "1\n").unwrap();
    let options = Options::File(file::Options {
        path: path.clone(),
        follow: true,
    });
    let mut link = options.open().unwrap();
    assert_eq!(take(&mut *link, 2), b"1\n");
    let mut old = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    old.write_all(b"2\n").unwrap();
    std::fs::rename(&path, folder.path().join("log.1")).unwrap();
    std::fs::write(&path, "3\n").unwrap();
    assert_eq!(take(&mut *link, 2), b"2\n");
    let stop = Stop::new().unwrap();
    let end = link.read(&mut [0; 8], Some(PATIENCE), &stop);
    assert_eq!(end, Read::Gone("another file is in its place".to_owned()));
    assert_eq!(take(&mut *options.open().unwrap(), 2), b"3\n");
}

#[test]
fn a_file_that_is_cut_short_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, "1\n2\n").unwrap();
    let follow = true;
    let mut link = Options::File(file::Options {
        path: path.clone(),
        follow,
    })
    .open()
    .unwrap();
    assert_eq!(take(&mut *link, 4), b"1\n2\n");
    std::fs::write(&path, "3\n").unwrap();
    let end = link.read(&mut [0; 8], Some(PATIENCE), &Stop::new().unwrap());
    assert_eq!(end, Read::Gone("the file was cut short".to_owned()));
}

#[test]
fn what_is_no_file_of_its_kind_is_refused_and_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = fifo_in(&folder);
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let refused = |options: Options| match options.open() {
        Ok(_) => panic!("{options} was opened"),
        Err(error) => error,
    };
    let error = refused(Options::File(file::Options {
        path: pipe.clone(),
        follow: false,
    }));
    assert_eq!(
        error.to_string(),
        format!("{} is not a plain file", pipe.display())
    );
    let error = refused(Options::Fifo(fifo::Options {
        path: plain.clone(),
    }));
    assert_eq!(
        error.to_string(),
        format!("{} is not a FIFO", plain.display())
    );
    for options in [
        Options::File(file::Options {
            path: folder.path().join("none"),
            follow: false,
        }),
        Options::Fifo(fifo::Options {
            path: folder.path().join("none"),
        }),
    ] {
        assert!(matches!(refused(options), OpenError::Missing { .. }));
    }
}

#[test]
fn a_fifo_has_one_reader() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::Fifo(fifo::Options {
        path: fifo_in(&folder),
    });
    let first = options.open().unwrap();
    let Err(error) = options.open() else {
        panic!("it was opened twice");
    };
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    drop(first);
    options.open().unwrap();
}

/// One writer closes, and the next has written before anybody looks again.
#[test]
fn nothing_is_lost_between_two_writers_of_a_fifo() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo_in(&folder);
    let mut link = Options::Fifo(fifo::Options { path: path.clone() })
        .open()
        .unwrap();
    std::fs::write(&path, "first\n").unwrap();
    met(&mut *link);
    assert_eq!(take(&mut *link, 6), b"first\n");
    let stop = Stop::new().unwrap();
    let end = link.read(&mut [0; 8], Some(PATIENCE), &stop);
    assert!(matches!(end, Read::Gone(_)), "{end:?}");
    std::fs::write(&path, "second\n").unwrap();
    let mut link = link.again().unwrap();
    met(&mut *link);
    assert_eq!(take(&mut *link, 7), b"second\n");
    // And the second is gone as well.
    let end = link.read(&mut [0; 8], Some(PATIENCE), &stop);
    assert!(matches!(end, Read::Gone(_)), "{end:?}");
}

#[test]
fn a_fifo_that_was_made_anew_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo_in(&folder);
    let link = Options::Fifo(fifo::Options { path: path.clone() })
        .open()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(link.again().is_none());
}

#[test]
fn a_file_that_is_read_once_ends_although_it_is_empty() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = file::Options {
        path: file.path().to_owned(),
        follow: false,
    };
    let mut link = file::File::open(&options).unwrap();
    let read = link.read(&mut [0; 8], Some(MOMENT), &Stop::new().unwrap());
    assert_eq!(read, Read::Finished("read to its end".to_owned()));
}

#[test]
fn every_link_has_a_name_for_people() {
    let bind = "0.0.0.0:5000".parse().unwrap();
    let names = [
        (
            Options::Tcp(tcp::Options::new("moxa:4001")),
            "TCP to moxa:4001",
        ),
        (
            Options::TcpServer(tcp_server::Options {
                bind,
                allow: Vec::new(),
                tuning: tcp::Tuning::default(),
            }),
            "TCP port 0.0.0.0:5000",
        ),
        (
            Options::Udp(udp::Options::new(bind)),
            "UDP port 0.0.0.0:5000",
        ),
        (Options::Stdin, "standard input"),
        (
            Options::Fifo(fifo::Options {
                path: "/run/x".into(),
            }),
            "FIFO /run/x",
        ),
        (
            Options::File(file::Options {
                path: "x.csv".into(),
                follow: false,
            }),
            "file x.csv",
        ),
    ];
    for (options, name) in names {
        assert_eq!(options.to_string(), name);
        assert_eq!(options.ns_per_byte(), 0.0);
    }
}
