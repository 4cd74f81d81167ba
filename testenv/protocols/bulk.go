package main

import (
	"net"
	"time"
)

// Bulk transfers are paced, so that they do not take the machine from the others.
const (
	chunkInterval = 20 * time.Millisecond
	chunkLen      = 5000 // 2 Mbit/s
)

var bulkProtocols = []protocol{
	{name: "TCP upload", promise: reset, start: startUpload},
	{name: "TCP download", promise: reset, start: startDownload},
}

// startUpload has the client send without end.
func startUpload(s *stage) error {
	t := s.track(chunkInterval)
	if err := s.serveTCP(func(c net.Conn) { _ = hear(c, t) }); err != nil {
		return err
	}
	s.stayConnected(s.pour)
	return nil
}

// startDownload has the server send without end, to a client that says nothing.
func startDownload(s *stage) error {
	t := s.track(chunkInterval)
	if err := s.serveTCP(func(c net.Conn) { _ = s.pour(c) }); err != nil {
		return err
	}
	s.stayConnected(func(c net.Conn) error { return hear(c, t) })
	return nil
}

// pour sends chunks until the connection fails.
func (s *stage) pour(c net.Conn) (err error) {
	chunk := make([]byte, chunkLen)
	s.each(chunkInterval, func() bool {
		_, err = c.Write(chunk)
		return err == nil
	})
	return err
}

// hear reads until the connection fails.
func hear(c net.Conn, t *track) error {
	buf := make([]byte, 64<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return err
		}
		t.heard()
	}
}
