package linkmon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// tlsConfig is for one probe of a server. Its certificate is verified in verify: crypto/tls
// itself would compare its times with this machine's clock, which may be wrong.
func (m web) tlsConfig(server netip.Addr) *tls.Config {
	return &tls.Config{
		ServerName:         server.String(),
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true, // see VerifyConnection
		VerifyConnection:   func(c tls.ConnectionState) error { return verify(c.PeerCertificates, server, m.roots) },
	}
}

// verify returns an error unless a chain of certificates is the server's and leads to a
// root that is trusted. That one has expired is no error: at a boot without a battery for
// its clock this machine has a date of years ago, and its uplinks work all the same. So the
// chain is verified for the instant at which all of it had just become valid.
func verify(chain []*x509.Certificate, server netip.Addr, roots *x509.CertPool) error {
	if len(chain) == 0 {
		return errors.New("the server has no certificate")
	}
	options := x509.VerifyOptions{DNSName: server.String(), Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: validFrom(chain)}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	var unknown x509.UnknownAuthorityError
	var other x509.HostnameError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &other):
		return fmt.Errorf("another server answers: its certificate is not for %s", server)
	case errors.As(err, &unknown) && roots == nil && !hasRoots():
		return errors.New("this machine has no certificates of authorities to verify the server's by (package ca-certificates)")
	case errors.As(err, &unknown):
		return fmt.Errorf("the certificate that answers for %s is of an unknown authority", server)
	}
	return fmt.Errorf("the certificate that answers for %s: %w", server, err)
}

// validFrom is the instant from which all certificates of a chain are valid.
func validFrom(chain []*x509.Certificate) time.Time {
	from := chain[0].NotBefore
	for _, c := range chain[1:] {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
	}
	return from
}

// hasRoots reports whether this machine has certificates of authorities.
func hasRoots() bool {
	pool, err := x509.SystemCertPool()
	return err == nil && !pool.Equal(x509.NewCertPool())
}
