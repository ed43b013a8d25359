package route

// Opening is what the first bytes of a connection have been recognised as.
type Opening uint8

// What may be known of a connection.
const (
	// Silent: nothing has been read.
	Silent Opening = iota
)
