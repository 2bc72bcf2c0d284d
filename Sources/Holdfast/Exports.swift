// A user imports `Holdfast` alone and gets the identifiers with it.
@_exported public import HoldfastBytes
