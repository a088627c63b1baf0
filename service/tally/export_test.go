package tally

import "net/http"

// SetTransport lets a test answer requests without a network, which has no virtual time.
func (c *Client) SetTransport(transport http.RoundTripper) { c.http = keyTransport{next: transport} }
