package plan

import (
	"reflect"
	"slices"
)

// Identity stands for the content of an element together with all that it refers to. Two plans give an element the same
// *Identity exactly when nothing about it changed, so whoever keeps a live object under an Identity keeps its state.
type Identity struct {
	// Serial tells identities apart in logs; it has no order.
	Serial uint64
}

// identified is an element that has an identity; nil ones have none.
type identified interface {
	comparable
	identity() *Identity
}

// identify returns the identity of was, the element of the same name in the previous plan, if content and dependencies are
// equal, else a new one.
func identify[E identified](b *builder, was E, equal bool) *Identity {
	var none E
	if was != none && equal {
		return was.identity()
	}
	return b.newIdentity()
}

func (b *builder) newIdentity() *Identity {
	b.serial++
	return &Identity{Serial: b.serial}
}

// sameConfig reports whether two configuration values are equal; pointers that did not move are the cheap case.
func sameConfig[T any](a, b *T) bool {
	return a == b || a != nil && b != nil && reflect.DeepEqual(a, b)
}

// sameNodes reports whether two lists of dependencies are the same elements with the same identities.
func sameNodes[T interface{ identity() *Identity }](a, b []T) bool {
	return slices.EqualFunc(a, b, func(x, y T) bool { return x.identity() == y.identity() })
}
