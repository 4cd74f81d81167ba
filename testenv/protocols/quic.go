package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"swerve/failover"
)

var quicProtocols = []protocol{
	{name: "QUIC, streams both ways", promise: goesOn, start: startStreams},
	{name: "QUIC, download only", promise: goesOn, start: startQUICDownload},
}

const quicALPN = "swerve-lab"

// messageInterval is the time between two messages of a stream.
const messageInterval = 50 * time.Millisecond

// streamInterval is the time between the beginnings of two streams.
const streamInterval = 200 * time.Millisecond

// startStreams has a client send messages on one stream, and on a new stream every now and
// then, and the server send them back.
func startStreams(s *stage) error {
	err := s.serveQUIC(func(c *quic.Conn) {
		for {
			stream, err := c.AcceptStream(s.ctx)
			if err != nil {
				return
			}
			s.run(func() {
				_, _ = io.Copy(stream, stream)
				_ = stream.Close()
			})
		}
	})
	if err != nil {
		return err
	}
	long, short := s.track(messageInterval), s.track(streamInterval)
	s.stayConnectedQUIC(func(c *quic.Conn) error {
		stream, err := c.OpenStreamSync(s.ctx)
		if err != nil {
			return err
		}
		s.run(func() { readNumbers(stream, long) })
		s.run(func() {
			s.each(streamInterval, func() bool { return s.shortStream(c, short) })
		})
		s.each(messageInterval, func() bool {
			_, err = stream.Write(binary.BigEndian.AppendUint32(nil, long.sent()))
			return err == nil
		})
		return err
	})
	return nil
}

// shortStream sends a number on a stream of its own; it reports false if there cannot be
// any more.
func (s *stage) shortStream(c *quic.Conn, t *track) bool {
	stream, err := c.OpenStreamSync(s.ctx)
	if err != nil {
		return false
	}
	_, err = stream.Write(binary.BigEndian.AppendUint32(nil, t.sent()))
	_ = stream.Close()
	s.run(func() { readNumbers(stream, t) })
	return err == nil
}

// readNumbers reads the numbers of messages until the end.
func readNumbers(r io.Reader, t *track) {
	var b [4]byte
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return
		}
		t.arrived(binary.BigEndian.Uint32(b[:]))
	}
}

// degrading is after how long a silence a client that downloads looks for another path,
// by a socket of its own: nothing that it sends would tell the server of its new address.
const degrading = time.Second

// startQUICDownload has the server alone send; the client but acknowledges.
func startQUICDownload(s *stage) error {
	err := s.serveQUIC(func(c *quic.Conn) {
		stream, err := c.OpenUniStreamSync(s.ctx)
		if err != nil {
			return
		}
		chunk := make([]byte, chunkLen)
		s.each(chunkInterval, func() bool {
			_, err := stream.Write(chunk)
			return err == nil
		})
	})
	if err != nil {
		return err
	}
	t := s.track(chunkInterval)
	s.stayConnectedQUIC(func(c *quic.Conn) error {
		stream, err := c.AcceptUniStream(s.ctx)
		if err != nil {
			return err
		}
		s.run(func() { s.migrate(c, t) })
		buf := make([]byte, 64<<10)
		for {
			if _, err := stream.Read(buf); err != nil {
				return err
			}
			t.heard()
		}
	})
	return nil
}

// migrate has a connection go on by another socket after each silence, while it lasts.
func (s *stage) migrate(c *quic.Conn, t *track) {
	s.each(100*time.Millisecond, func() bool {
		if t.quiet() >= degrading && s.otherPath(c) == nil {
			s.migrated()
		}
		return c.Context().Err() == nil
	})
}

// otherPath makes one attempt.
func (s *stage) otherPath(c *quic.Conn) error {
	transport, err := s.quicTransport()
	if err != nil {
		return err
	}
	path, err := c.AddPath(transport)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(s.ctx, degrading)
	defer cancel()
	if err := path.Probe(limited); err != nil {
		return errors.Join(err, path.Close())
	}
	return path.Switch()
}

// serveQUIC has serve use each connection to the server's address.
func (s *stage) serveQUIC(serve func(*quic.Conn)) error {
	socket, err := s.openPackets()
	if err != nil {
		return err
	}
	transport := &quic.Transport{Conn: socket}
	s.closeAtEnd(transport)
	l, err := transport.Listen(serverTLS(quicALPN), nil)
	if err != nil {
		return err
	}
	s.run(func() {
		for {
			c, err := l.Accept(s.ctx)
			if err != nil {
				return
			}
			s.run(func() { serve(c) })
		}
	})
	return nil
}

// quicTransport is a fresh socket of the client's, open until the session ends.
func (s *stage) quicTransport() (*quic.Transport, error) {
	anywhere := "0.0.0.0:0"
	if s.family == failover.IPv6 {
		anywhere = "[::]:0"
	}
	socket, err := s.client.ListenPacket("udp", anywhere)
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: socket}
	s.closeAtEnd(socket)
	s.closeAtEnd(transport)
	return transport, nil
}

// stayConnectedQUIC is stayConnected for QUIC.
func (s *stage) stayConnectedQUIC(use func(*quic.Conn) error) {
	s.run(func() {
		for !s.over() {
			c, err := s.dialQUIC()
			if err != nil {
				s.pause(dialPause)
				continue
			}
			s.connected()
			err = use(c)
			_ = c.CloseWithError(0, "")
			if !s.over() {
				s.broke(err)
			}
		}
	})
}

func (s *stage) dialQUIC() (*quic.Conn, error) {
	transport, err := s.quicTransport()
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(s.ctx, dialTimeout)
	defer cancel()
	return transport.Dial(limited, net.UDPAddrFromAddrPort(s.at), clientTLS(quicALPN), nil)
}
