-- sqlite: how often a person has ended a lane's pause.
select key, resumed from lane where resumed > 0
