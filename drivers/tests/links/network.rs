//! What the links over the network have of their own.

use std::io::Read as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use kymo_drivers::link::udp::From;
use kymo_drivers::link::{LineError, Link, OpenError, Options, Read, Stop, tcp, tcp_server, udp};

use super::kinds::{MOMENT, PATIENCE, free_udp, met, server, take};

#[test]
fn nobody_listening_is_told_with_the_address() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let mut link = Options::Tcp(tcp::Options::new(address.to_string()))
        .open()
        .unwrap();
    let error = link.await_peer(&Stop::new().unwrap()).unwrap_err();
    let expected = format!("cannot connect to {address}: Connection refused");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

/// A port whose queue is full answers nothing, as a host that is switched off.
fn unanswering() -> (SocketAddr, Vec<TcpStream>, rustix::fd::OwnedFd) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&listener, 0).unwrap();
    let address = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
    let mut fillers = Vec::new();
    while let Ok(filler) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        fillers.push(filler);
    }
    (address, fillers, listener)
}

#[test]
fn a_host_that_does_not_answer_is_given_up_and_the_order_to_stop_does_not_wait_for_that() {
    let (address, _fillers, _listener) = unanswering();
    let mut options = tcp::Options::new(address.to_string());
    options.connect_timeout = MOMENT;
    let mut link = tcp::Tcp::new(&options);
    let error = link.await_peer(&Stop::new().unwrap()).unwrap_err();
    assert!(error.to_string().contains("no answer in"), "{error}");

    options.connect_timeout = PATIENCE * 10;
    let mut link = tcp::Tcp::new(&options);
    let stop = Stop::new().unwrap();
    let order = stop.clone();
    let waiting = std::thread::spawn(move || link.await_peer(&order).unwrap());
    std::thread::park_timeout(MOMENT);
    stop.trigger();
    assert!(!waiting.join().unwrap());
}

#[test]
fn a_name_is_looked_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut link = tcp::Tcp::new(&tcp::Options::new(format!("localhost:{port}")));
    met(&mut link);
    let (mut far, _) = listener.accept().unwrap();
    far.write_all(b"21.5\n").unwrap();
    assert_eq!(take(&mut link, 5), b"21.5\n");
}

#[test]
fn a_second_peer_is_refused_counted_and_told_and_the_first_does_not_notice() {
    let (mut link, address) = server(&[]);
    let mut first = TcpStream::connect(address).unwrap();
    met(&mut link);
    let mut seconds: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let stop = Stop::new().unwrap();
    let started = Instant::now();
    let mut noticed = link.noticed();
    while noticed.line_errors.get(LineError::PeerRefused) < 3 {
        assert!(started.elapsed() < PATIENCE);
        assert_eq!(link.read(&mut [0; 8], Some(MOMENT), &stop), Read::Quiet);
        let more = link.noticed();
        for (error, count) in more.line_errors.iter() {
            noticed.line_errors.add(error, count);
        }
        noticed.notes.extend(more.notes);
    }
    assert!(
        noticed.notes[0].starts_with("refused the peer 127.0.0.1:"),
        "{:?}",
        noticed.notes
    );
    for second in &mut seconds {
        // Closed, one way or the other.
        assert!(matches!(second.read(&mut [0; 8]), Ok(0) | Err(_)));
    }
    first.write_all(b"1,2\n").unwrap();
    assert_eq!(take(&mut link, 4), b"1,2\n");
}

#[test]
fn a_peer_that_is_not_on_the_list_is_refused() {
    let (mut link, address) = server(&["192.0.2.7"]);
    let mut stranger = TcpStream::connect(address).unwrap();
    let stop = Stop::new().unwrap();
    let order = stop.clone();
    let waiting = std::thread::spawn(move || (link.await_peer(&order).unwrap(), link));
    assert!(matches!(stranger.read(&mut [0; 8]), Ok(0) | Err(_)));
    stop.trigger();
    let (found, mut link) = waiting.join().unwrap();
    assert!(!found);
    let noticed = link.noticed();
    assert_eq!(noticed.line_errors.get(LineError::PeerRefused), 1);
    assert!(noticed.notes[0].ends_with("it is not on the list"));
}

#[test]
fn the_port_stays_open_between_two_peers() {
    let (mut link, address) = server(&[]);
    drop(TcpStream::connect(address).unwrap());
    met(&mut link);
    let stop = Stop::new().unwrap();
    let end = link.read(&mut [0; 8], Some(PATIENCE), &stop);
    assert!(matches!(end, Read::Gone(_)), "{end:?}");
    // While the link is between two peers.
    let mut next = TcpStream::connect(address).unwrap();
    next.write_all(b"early").unwrap();
    let mut link = Box::new(link).again().unwrap();
    met(&mut *link);
    assert_eq!(take(&mut *link, 5), b"early");
}

#[test]
fn a_port_that_somebody_has_is_in_use() {
    let (_link, address) = server(&[]);
    let options = tcp_server::Options {
        bind: address,
        allow: Vec::new(),
        tuning: tcp::Tuning::default(),
    };
    let error = tcp_server::TcpServer::open(&options).unwrap_err();
    let expected = format!("TCP port {address} is in use by another process");
    assert_eq!(error.to_string(), expected);

    let first = udp::Udp::open(&udp::Options::new(free_udp())).unwrap();
    drop(first);
    let address = free_udp();
    let _first = udp::Udp::open(&udp::Options::new(address)).unwrap();
    let error = udp::Udp::open(&udp::Options::new(address)).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
}

fn sender(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket
}

#[test]
fn only_senders_on_the_list_are_heard_and_the_others_counted() {
    let near = free_udp();
    let known = sender(near);
    let port = known.local_addr().unwrap().port();
    let mut options = udp::Options::new(near);
    options.from = vec![From {
        ip: Ipv4Addr::LOCALHOST.into(),
        port: Some(port),
    }];
    let mut link = udp::Udp::open(&options).unwrap();
    let stranger = sender(near);
    for _ in 0..1000 {
        stranger.send(b"9,9\n").unwrap();
    }
    known.send(b"1,2\n").unwrap();
    let stop = Stop::new().unwrap();
    let mut buffer = [0; 100];
    let started = Instant::now();
    loop {
        match link.read(&mut buffer, Some(PATIENCE), &stop) {
            Read::Data(count) => {
                assert_eq!(&buffer[..count], b"1,2\n");
                break;
            }
            // A crowd of strangers is passed over in turns.
            Read::Quiet => assert!(started.elapsed() < PATIENCE),
            other => panic!("{other:?}"),
        }
    }
    let errors = link.noticed().line_errors;
    assert_eq!(errors.get(LineError::DatagramRefused), 1000);
}

#[test]
fn each_read_brings_one_datagram_and_an_empty_one_is_passed_over() {
    let near = free_udp();
    let mut link = udp::Udp::open(&udp::Options::new(near)).unwrap();
    assert!(link.keeps_boundaries());
    let far = sender(near);
    for datagram in [&b"one"[..], b"", b"two", b"three"] {
        far.send(datagram).unwrap();
    }
    let stop = Stop::new().unwrap();
    let mut buffer = [0; 100];
    for expected in [&b"one"[..], b"two", b"three"] {
        let read = link.read(&mut buffer, Some(PATIENCE), &stop);
        assert_eq!(read, Read::Data(expected.len()));
        assert_eq!(&buffer[..expected.len()], expected);
    }
}

#[test]
fn a_datagram_longer_than_the_buffer_is_cut_and_counted() {
    let near = free_udp();
    let mut link = udp::Udp::open(&udp::Options::new(near)).unwrap();
    let far = sender(near);
    far.send(b"abcdef").unwrap();
    far.send(b"gh").unwrap();
    let stop = Stop::new().unwrap();
    let mut buffer = [0; 4];
    assert_eq!(link.read(&mut buffer, Some(PATIENCE), &stop), Read::Data(4));
    assert_eq!(&buffer, b"abcd");
    assert_eq!(link.read(&mut buffer, Some(PATIENCE), &stop), Read::Data(2));
    assert_eq!(link.noticed().line_errors.get(LineError::DatagramCut), 1);
}

#[test]
fn a_line_end_that_is_left_out_is_put_behind_the_datagram() {
    let near = free_udp();
    let mut options = udp::Options::new(near);
    options.append = b"\n".to_vec();
    let mut link = udp::Udp::open(&options).unwrap();
    let far = sender(near);
    far.send(b"1,2").unwrap();
    far.send(b"3,4\n").unwrap();
    let stop = Stop::new().unwrap();
    let mut buffer = [0; 16];
    for expected in [b"1,2\n", b"3,4\n"] {
        assert_eq!(link.read(&mut buffer, Some(PATIENCE), &stop), Read::Data(4));
        assert_eq!(&buffer[..4], expected);
    }
    // No room for it: the datagram's own bytes go before.
    far.send(b"1,2").unwrap();
    let read = link.read(&mut buffer[..3], Some(PATIENCE), &stop);
    assert_eq!(read, Read::Data(3));
}

/// Nobody reads meanwhile: what does not fit is dropped by the kernel, and each is owned up to.
#[test]
fn what_the_kernel_drops_is_counted_to_the_datagram() {
    const SENT: u64 = 500;
    let near = free_udp();
    let mut options = udp::Options::new(near);
    options.receive_buffer = 16 << 10;
    let mut link = udp::Udp::open(&options).unwrap();
    let far = sender(near);
    for _ in 0..SENT {
        far.send(&[7; 1000]).unwrap();
    }
    let stop = Stop::new().unwrap();
    let mut buffer = [0; 2000];
    let mut got = 0;
    while let Read::Data(1000) = link.read(&mut buffer, Some(MOMENT), &stop) {
        got += 1;
    }
    let dropped = link.noticed().line_errors.get(LineError::DatagramDropped);
    assert!(got > 0 && dropped > 0, "{got} came");
    assert_eq!(got + dropped, SENT);
    assert!(link.noticed().line_errors.is_empty(), "given out once");
}

#[test]
fn a_multicast_group_is_joined() {
    let port = free_udp().port();
    let mut options = udp::Options::new(SocketAddr::from(([0, 0, 0, 0], port)));
    let group = Ipv4Addr::new(239, 255, 76, 67);
    options.group = Some(group.into());
    options.interface = Some(Ipv4Addr::LOCALHOST);
    let mut link = udp::Udp::open(&options).unwrap();
    let far = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    );
    let far = far.unwrap();
    rustix::net::sockopt::set_ip_multicast_if(&far, &Ipv4Addr::LOCALHOST).unwrap();
    let to = SocketAddr::from((group, port));
    rustix::net::sendto(&far, b"42\n", rustix::net::SendFlags::empty(), &to).unwrap();
    assert_eq!(take(&mut link, 3), b"42\n");
}
