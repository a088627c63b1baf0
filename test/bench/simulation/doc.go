// Package simulation runs tallyd's quota and what others would put in its place through hours of virtual time. It talks to no Tally
// and holds no code but tests: short runs prove that it works, and `make bench-quota` makes the long ones.
package simulation
