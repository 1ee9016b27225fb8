"""The controller: os-ken apps, REST, store and command line. All input and output of the controller is here."""
